"""Selection against a stable sort: for any dtype, any number of ties, any number of sources, and samples that lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoprune.compression.core import selection
from autoprune.compression.core.formulas import agp_sparsity, pruned_count
from autoprune.compression.core.selection import Array, Mask, NotANumber, Source, Values, smallest, whole

DTYPES = st.sampled_from([np.float32, np.float64])
SAMPLES = st.sampled_from([2, 5, 12, 1 << 16])
TIED = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.1, 1.0, np.inf])


@contextmanager
def sampling(size: int) -> Iterator[None]:
    """Samples, brackets and stretches so small that few elements take many passes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SAMPLE", size)
        patch.setattr(selection, "STRETCH", 2 * size + 1)
        patch.setattr(selection, "SIGMAS", 0.0)
        patch.setattr(selection, "WIDER", 2.0)
        yield


def vectors(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Values]:
    """Vectors of either dtype, empty ones among them."""
    listed = st.lists(elements, max_size=40)
    return st.builds(lambda values, dtype: np.array(values, dtype=dtype), listed, DTYPES)


def marks(size: int) -> st.SearchStrategy[Mask]:
    return st.lists(st.booleans(), min_size=size, max_size=size).map(lambda listed: np.array(listed, dtype=bool))


ANY = st.one_of(vectors(TIED), vectors(st.floats(allow_nan=False, width=32)))


def by_sorting(vectors: Sequence[Values], k: int, among: Sequence[Mask | None]) -> list[Mask]:
    allowed = [np.ones(len(v), bool) if m is None else m for v, m in zip(vectors, among, strict=True)]
    joined = np.concatenate([v.astype(np.float64) for v in vectors])
    candidates = np.flatnonzero(np.concatenate(allowed))
    mask = np.zeros(joined.size, dtype=bool)
    mask[candidates[np.argsort(joined[candidates], kind="stable")[:k]]] = True
    return np.split(mask, np.cumsum([len(v) for v in vectors])[:-1])


def agrees(vectors: Sequence[Values], k: int, among: Sequence[Mask | None] | None = None) -> None:
    found = smallest([Array(v) for v in vectors], k, among)
    expected = by_sorting(vectors, max(k, 0), among or [None] * len(vectors))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.bool_
        assert np.array_equal(one, other)


class Recording:
    """Scores as they are in reality: computed on being read, into one buffer that is used again."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.buffer = np.empty_like(values)
        self.read: list[tuple[int, int]] = []
        self.sampled = 0

    @property
    def size(self) -> int:
        return self.values.size

    def stretch(self, start: int, stop: int) -> Values:
        self.read.append((start, stop))
        self.buffer[:] = np.nan
        out = self.buffer[: stop - start]
        out[:] = self.values[start:stop]
        return out

    def at(self, index: NDArray[np.intp]) -> Values:
        assert np.all(np.diff(index) >= 0)
        self.sampled += index.size
        out = self.buffer[: index.size]
        out[:] = self.values[index]
        return out

    def passes(self) -> int:
        return sum(start == 0 for start, _ in self.read)


@given(st.data(), st.lists(ANY, min_size=1, max_size=4), SAMPLES)
def test_exactly_the_k_smallest_of_all_sources(data: st.DataObject, pool: list[Values], sample: int) -> None:
    k = data.draw(st.integers(-1, sum(v.size for v in pool) + 1))
    with sampling(sample):
        agrees(pool, k)


@given(st.data(), st.lists(ANY, min_size=1, max_size=3), SAMPLES)
def test_only_among_those_marked(data: st.DataObject, pool: list[Values], sample: int) -> None:
    among = [data.draw(st.none() | marks(v.size)) for v in pool]
    count = sum(v.size if m is None else int(m.sum()) for v, m in zip(pool, among, strict=True))
    k = data.draw(st.integers(-1, count + 1))
    with sampling(sample):
        agrees(pool, k, among)


def test_masks_are_the_callers_to_change() -> None:
    among = np.array([True, False])
    smallest([Array(np.zeros(2))], 1, [among])[0][:] = True
    smallest([Array(np.zeros(2))], 2, [among])[0][:] = True
    assert among.tolist() == [True, False]


def test_no_sources() -> None:
    assert smallest([], 0) == []
    assert smallest([], 3) == []


@pytest.mark.parametrize("sample", [2, 7, 1 << 16])
def test_a_float32_is_compared_with_a_float64_as_it_is(sample: int) -> None:
    tenths = np.arange(1, 10) / 10
    beyond = np.array([-np.inf, -1e300, 1e300, np.inf])
    double, single = np.concatenate([tenths, beyond]), np.concatenate([tenths, beyond[[0, 3]]]).astype(np.float32)
    assert {float(one) > other for one, other in zip(single[:9], tenths, strict=True)} == {False, True}
    with sampling(sample):
        for k in range(double.size + single.size):
            agrees([single, double], k)
            agrees([double, single], k)


def large(name: str, size: int) -> Values:
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(size).astype(np.float32)
    if name == "bf16":
        return np.abs((normal.view(np.uint32) & 0xFFFF0000).view(np.float32))
    return {
        "normal": np.abs(normal),
        "sorted": np.sort(np.abs(normal)),
        "falling": -np.sort(np.abs(normal)),
        "int8": np.abs(np.round(normal * 30)),
        "ternary": np.sign(np.round(normal)),
        "constant": np.full(size, 0.5, np.float32),
        "mostly zero": np.where(rng.random(size) < 0.97, np.float32(0), normal),
        "infinite": np.where(rng.random(size) < 0.5, np.float32(np.inf), normal),
        "wide": np.exp(40 * normal.astype(np.float64)),
    }[name]


NAMES = ("normal", "bf16", "sorted", "falling", "int8", "ternary", "constant", "mostly zero", "infinite", "wide")


@pytest.mark.parametrize("share", [0.00001, 0.3, 0.5, 0.9, 0.99999])
@pytest.mark.parametrize("name", NAMES)
def test_large_layers_take_few_passes_over_stretches(name: str, share: float) -> None:
    values = large(name, 300_000)
    k = int(share * values.size)
    source = Recording(values)
    (mask,) = smallest([source], k)
    assert np.array_equal(mask, by_sorting([values], k, [None])[0])
    assert 1 <= source.passes() <= 3
    assert source.sampled <= selection.SAMPLE
    assert max(stop - start for start, stop in source.read) <= selection.STRETCH < values.size


def test_the_scores_are_read_once_where_they_differ() -> None:
    sources = [Recording(large("normal", size)) for size in (200_000, 0, 150_000, 3)]
    masks = smallest(sources, 300_000)
    assert sum(int(mask.sum()) for mask in masks) == 300_000
    assert [source.passes() for source in sources] == [1, 0, 1, 1]


@pytest.mark.parametrize("share", [0.5, 0.503, 0.55, 0.597, 0.6])
def test_ties_take_one_pass_more(share: float) -> None:
    values = np.arange(300_000, dtype=np.float32) % 10
    source = Recording(values)
    (mask,) = smallest([source], int(share * values.size))
    assert np.array_equal(mask, by_sorting([values], int(share * values.size), [None])[0])
    assert source.passes() <= 2


def test_what_may_not_go_does_not_mislead_the_sample() -> None:
    values = large("normal", 300_000)
    source = Recording(values)
    (mask,) = smallest([source], 60_000, [values > np.median(values)])
    assert np.array_equal(mask, by_sorting([values], 60_000, [values > np.median(values)])[0])
    assert source.passes() == 1


def test_few_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory beyond the masks, also where everything ties."""
    collected: list[int] = []
    partition = np.partition

    def recording(values: Any, *args: Any) -> Any:
        collected.append(len(values))
        return partition(values, *args)

    monkeypatch.setattr(np, "partition", recording)
    for name in NAMES:
        smallest([Array(large(name, 300_000))], 200_000)
    assert collected
    assert max(collected) < 0.05 * 300_000


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sample_that_misleads_costs_passes_and_nothing_else(monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
    """The sample is told to be the largest scores or the smallest, the k-th smallest is at the other end."""
    values = large("normal", 20_000)

    class Misleading(Recording):
        def at(self, index: NDArray[np.intp]) -> Values:
            return np.sort(sign * self.values)[-index.size :] * np.float32(sign)

    monkeypatch.setattr(selection, "SAMPLE", 1000)
    for k in (1, 1000, 10_000, 19_000, 19_999):
        source = Misleading(values)
        (mask,) = smallest([source], k)
        assert np.array_equal(mask, by_sorting([values], k, [None])[0])
        assert source.passes() <= 12


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_nan_among_the_candidates_is_an_error_that_names_the_source(size: int) -> None:
    good, bad = np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)
    bad[size // 2] = np.nan
    sources = [Array(good), Array(bad)]
    for k in (1, size, 2 * size - 1):
        with pytest.raises(NotANumber) as caught:
            smallest(sources, k)
        assert caught.value.source == 1
    assert not any(mask.any() for mask in smallest(sources, 0))
    assert all(mask.all() for mask in smallest(sources, 2 * size))


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_nan_that_is_no_candidate_is_no_matter(size: int) -> None:
    values = np.arange(size, dtype=np.float32)
    values[::2] = np.nan
    (mask,) = smallest([Array(values)], 3, [~np.isnan(values)])
    assert np.flatnonzero(mask).tolist() == [1, 3, 5]


def test_sources_are_what_the_protocol_says() -> None:
    source: Source = Array(np.array([3.0, 1.0, 2.0]))
    assert source.size == 3
    assert source.stretch(1, 3).tolist() == [1, 2]
    assert source.at(np.array([0, 2])).tolist() == [3, 2]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 40])
def test_a_whole_source_is_its_stretches(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "STRETCH", 8)
    values = np.arange(size, dtype=np.float32)

    buffer = np.empty(8, dtype=np.float32)

    class Buffered:
        size = values.size

        def stretch(self, start: int, stop: int) -> Values:
            buffer[: stop - start] = values[start:stop]
            return buffer[: stop - start]

        def at(self, index: NDArray[np.intp]) -> Values:
            return values[index]

    assert np.array_equal(whole(Buffered()), values)
    assert np.array_equal(whole(Array(values)), values)


def test_the_count_forgives_the_float() -> None:
    assert 100 * 0.29 < 29
    assert pruned_count(100, 0.29) == 29
    assert pruned_count(7, 0.5) == 3
    assert pruned_count(0, 0.5) == 0


def test_agp_by_hand() -> None:
    for epoch, expected in {0: 0.0, 1: 0.2168, 2: 0.3904, 5: 0.7, 10: 0.8, 99: 0.8}.items():
        assert abs(agp_sparsity(epoch, 0.0, 0.8, 0, 10, 1) - expected) < 1e-12


def test_agp_off_frequency_before_the_start_and_without_a_span() -> None:
    assert agp_sparsity(3, 0.0, 0.8, 0, 10, 2) == agp_sparsity(2, 0.0, 0.8, 0, 10, 2)
    assert agp_sparsity(9, 0.0, 0.8, 0, 10, 4) == agp_sparsity(8, 0.0, 0.8, 0, 10, 4)
    assert agp_sparsity(10, 0.0, 0.8, 0, 10, 4) == 0.8
    assert agp_sparsity(2, 0.1, 0.8, 3, 9, 1) == 0.1
    assert agp_sparsity(3, 0.1, 0.8, 3, 3, 1) == 0.8
    assert agp_sparsity(2, 0.1, 0.8, 3, 3, 1) == 0.1


@given(st.floats(0, 0.5), st.floats(0.5, 0.99), st.integers(0, 5), st.integers(0, 15), st.integers(1, 6))
def test_agp_rises_from_the_initial_to_the_final_sparsity(
    initial: float, final: float, start: int, span: int, frequency: int
) -> None:
    path = [agp_sparsity(epoch, initial, final, start, start + span, frequency) for epoch in range(start + span + 3)]
    assert all(before <= after + 1e-12 for before, after in pairwise(path))
    assert all(initial - 1e-12 <= value <= final + 1e-12 for value in path)
    assert path[start + span :] == [final] * 3
