"""The loop: ask, start, listen, judge, write down; until there is nothing left to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from autoprune.config import ExperimentConfig
from autoprune.errors import AutopruneError, TunerError
from autoprune.manager import repeating
from autoprune.manager.advisor_client import AdvisorClient, Answer, Failed, Judged, Proposed
from autoprune.manager.attempt import Running
from autoprune.manager.complaint import complaint_of
from autoprune.manager.journal import Journal
from autoprune.manager.outcome import Outcome, done
from autoprune.manager.recover import TakenUp
from autoprune.manager.verdict import Cut, Ending, conclude
from autoprune.protocol import KEEP_VARIABLE, STDERR, ReportReader
from autoprune.records import (
    Exit,
    ExperimentState,
    OptimizeMode,
    StartingPoint,
    Trial,
    TrialSpec,
    TrialState,
    timestamp,
)
from autoprune.runners import Ended, Runner
from autoprune.store import Command, Workspace

STARTUP_FAILURES = 5
_ACTIVE_EVERY = 1.0


@dataclass
class Manager:
    """Runs one experiment from where it stands. Everything it learns goes through `journal`."""

    experiment: str
    config: ExperimentConfig
    workspace: Workspace
    runner: Runner
    advisor: AdvisorClient
    journal: Journal
    taken_up: TakenUp
    command: str
    starts: Sequence[StartingPoint] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    _running: dict[int, Running] = field(default_factory=dict)
    _asked: dict[int, int] = field(default_factory=dict)
    _exhausted: bool = False
    _closing: Outcome | None = None
    _due: list[Trial] | None = None
    _silent_failures: int = 0
    _rewritten: bool = False
    _signal: int | None = None

    def __post_init__(self) -> None:
        self._waiting = list(self.taken_up.waiting)
        self._next = self.taken_up.next
        self._created = self.taken_up.created
        self._begun = self.taken_up.begun
        self._finished = self.taken_up.finished
        self._succeeded = self.taken_up.succeeded
        self._failures = dict(self.taken_up.failures)
        self._active_before = self.taken_up.active_seconds - self.runner.now()
        self._active_written = self.runner.now()

    def interrupt(self, signal: int) -> None:
        """For a signal handler: stop as soon as possible, and remember what may go on later."""
        self._signal = signal

    def run(self) -> Outcome:
        """Until a limit is reached, the search is exhausted, or somebody or something ends it."""
        while not self._over():
            self._obey()
            self._fill()
            ended = self.runner.wait(self._timeout(), self.advisor.descriptors())
            for running in self._running.values():
                self._listen(running)
            for end in ended:
                self._end(end)
            self._hear()
            self._enforce_limits()
        return self._closing or self._done()

    def _over(self) -> bool:
        if self._running:
            return False
        return self._closing is not None or not (self._waiting or self._asked or self._may_ask() or self._repeats())

    def _may_ask(self) -> bool:
        return self._closing is None and not self._exhausted and not self._enough()

    def _enough(self) -> bool:
        """Whether maxTrialNumber is reached; imported trials do not count."""
        limit = self.config.max_trial_number
        return limit is not None and self._created >= limit

    def _repeats(self) -> list[Trial]:
        """The trials of a task that are to run again before the end, once the search is over and all others ended."""
        searching = self._closing is not None or self._may_ask() or self._asked
        if searching or self.config.task is None or not self.config.search.repeats:
            return []
        if not self._due:
            search = self.config.search
            highest = self.config.optimize_mode is OptimizeMode.MAXIMIZE
            self._due = repeating.due(self.journal.trials(), search.leaders, search.repeats, highest=highest)
        return self._due

    def _done(self, why: str = "") -> Outcome:
        why = why or ("the search space is exhausted" if self._exhausted else "maxTrialNumber reached")
        trials = self.journal.trials() if self.config.constraints else []
        return done(why, self._succeeded, trials, self.config)

    def _close(self, outcome: Outcome, cut: Cut | None) -> None:
        """Begin to end the experiment; with `cut`, without waiting for the trials that run."""
        if self._closing is None:
            self._closing = outcome
        if cut is not None:
            for running in self._running.values():
                self._cut(running, cut)

    def _cut(self, running: Running, cut: Cut, reason: str = "", *, now: bool = False) -> None:
        running.cut = running.cut or cut
        running.reason = running.reason or reason
        self.runner.kill(running.spec.number, now=now)

    def _obey(self) -> None:
        """Signals first, then the store's commands."""
        if self._signal is not None:
            signal, self._signal = self._signal, None
            if self._closing is not None:
                for running in self._running.values():
                    self._cut(running, Cut.INTERRUPTED, now=True)
            message = "interrupted; go on with: autoprune resume " + self.experiment
            self._close(Outcome(ExperimentState.STOPPED, 128 + signal, message), Cut.INTERRUPTED)
        for command in self.journal.pending():
            self._do(command)
        if self._rewritten:
            self._rewritten = False
            self._asked.clear()
            self.advisor.rebuild()

    def _do(self, command: Command) -> None:
        """What a command asks; its answer is empty when it is done, else why it is not."""
        match command.kind:
            case "stop":
                self._close(Outcome(ExperimentState.STOPPED, 0, "stopped by command"), Cut.INTERRUPTED)
                self.journal.answered(command)
            case "kill":
                self.journal.answered(command, self._kill(int(command.data["trial"])))
            case _ if self._closing is not None:
                self.journal.answered(command, f"the experiment is ending: {self._closing.message}")
            case "enqueue" if self._asked:
                pass  # The next number is the tuner's until it has answered; the command waits.
            case _:
                self._change(command)

    def _change(self, command: Command) -> None:
        """Make a change of the experiment, and go on with it as if it had always been so."""
        change = self.journal.changed(command)
        if change is None:
            return
        self._due = None
        if change.config is not None:
            self.config = change.config
            self.runner.concurrency = change.config.trial_concurrency
        if change.again is not None:
            self._finished -= 1
            self._failures.pop(change.again.number, None)
            self._waiting.append(change.again)
        if change.enqueued is not None:
            self._expect(change.enqueued)
        self._finished += change.imported
        self._next += change.imported
        self._rewritten |= change.again is not None or change.imported > 0

    def _kill(self, number: int) -> str:
        if number in self._running:
            self._cut(self._running[number], Cut.CANCELED)
            return ""
        for trial in self._waiting:
            if trial.number == number:
                self._waiting.remove(trial)
                self._learn(self.journal.canceled(number, Cut.CANCELED.value))
                return ""
        return f"trial {number} is not running"

    def _fill(self) -> None:
        """Give every free slot a trial: one that waits, else a new one."""
        slots = self.runner.slots(self.config.trial_gpu_number)
        while self._waiting and len(self._running) < slots and self._closing is None:
            self._start(self._waiting.pop(0))
        while len(self._waiting) + len(self._running) < slots and self._begun < len(self.starts) and self._may_ask():
            start = self.starts[self._begun]
            trial = Trial(self._next, TrialState.WAITING, start.parameters, known=self._finished)
            self._create(replace(trial, origin=start.name))
            self._begun += 1
            self._start(self._waiting.pop(0))
        if not self._asked and not self._waiting and len(self._running) < slots and self._may_ask():
            self._asked[self._next] = self._finished
            self.advisor.ask(self._next)
        while len(self._waiting) + len(self._running) < slots and self._repeats():
            again = self._repeats().pop(0)
            trial = Trial(self._next, TrialState.WAITING, again.parameters, known=self._finished)
            self._create(replace(trial, origin=again.origin, repeat_of=again.number))
            self._start(self._waiting.pop(0))

    def _start(self, trial: Trial) -> None:
        kept = self.config.task is not None and (trial.origin or trial.repeat_of is not None)
        spec = TrialSpec(
            experiment=self.experiment,
            number=trial.number,
            attempt=trial.attempts,
            command=self.command,
            code_directory=self.config.trial_code_directory,
            folder=self.workspace.attempt(self.experiment, trial.number, trial.attempts),
            output=self.workspace.output(self.experiment, trial.number),
            parameters=trial.parameters,
            environment={**self.environment, KEEP_VARIABLE: "1"} if kept else self.environment,
            gpus=self.config.trial_gpu_number,
        )
        self.journal.attempt_started(spec.number, spec.attempt)
        reader = ReportReader(spec.folder, spec.attempt)
        judged = self.config.assessor is not None and trial.repeat_of is None
        self._running[spec.number] = Running(spec, self.runner.now(), reader, judged)
        try:
            process = self.runner.start(spec)
        except OSError as error:
            message = f"trial {spec.number} cannot be started: {error}"
            self.journal.attempt_ended(spec.number, spec.attempt, None, Ending(TrialState.WAITING, message=message))
            raise AutopruneError(message) from error
        self.journal.process_started(spec.number, spec.attempt, process)

    def _listen(self, running: Running) -> None:
        """Take in what an attempt has reported since the last time."""
        reports = running.reader.read()
        number = running.spec.number
        while running.reader.broken:
            self.journal.warning("a line that is no report", trial=number, line=running.reader.broken.pop(0))
        if not reports:
            return
        self.journal.reported(number, reports)
        restart = not running.reported
        values = [report.value for report in reports if not report.final and report.value is not None]
        for report in reports:
            if report.final and running.final is not None:
                self.journal.warning("one more final result; the first one counts", trial=number)
            elif report.final:
                running.final = report
            else:
                running.last = report
        if values:
            self.advisor.tell({"do": "reported", "number": number, "values": values, "restart": restart})
            if running.judged and running.final is None and running.cut is None:
                self.advisor.judge(number)

    def _end(self, ended: Ended) -> None:
        """An attempt is over: drain it, decide, write it down, and go on."""
        running = self._running[ended.number]
        self._listen(running)
        del self._running[ended.number]
        complaint = "" if ended.exit is None or ended.exit.ok else complaint_of(running.spec)
        ending = conclude(
            ended.exit,
            running.final,
            running.last,
            running.cut,
            running.reason,
            complaint,
            self.config.objectives,
            self.config.constraints,
        )
        if ending.state is TrialState.FAILED and running.cut is None:
            ending = self._retried(ended.number, ending)
        trial = self.journal.attempt_ended(ended.number, running.spec.attempt, ended.exit, ending)
        if trial.state is TrialState.WAITING:
            self._waiting.append(trial)
        else:
            self._learn(trial)
        self._count_silent_failure(running, ended.exit, ending)

    def _retried(self, number: int, ending: Ending) -> Ending:
        """A failure becomes one more attempt while maxTrialRetries allows it."""
        self._failures[number] = self._failures.get(number, 0) + 1
        if self._failures[number] > self.config.max_trial_retries:
            return ending
        left = self.config.max_trial_retries - self._failures[number]
        return Ending(TrialState.WAITING, message=f"{ending.message}; runs again, {left} more retries left")

    def _learn(self, trial: Trial) -> None:
        self._finished += 1
        self._succeeded += trial.state is TrialState.SUCCEEDED
        self.advisor.tell({"do": "finished", "trial": asdict(trial)})

    def _count_silent_failure(self, running: Running, exit: Exit | None, ending: Ending) -> None:
        """Trials that fail one after the other without a word, or the wrong one, share a cause; more would not help."""
        if running.cut is not None or ending.state is TrialState.WAITING:
            return
        lacking = ending.state is TrialState.INVALID and any(
            name not in ending.metrics for name in self.config.objectives
        )
        self._silent_failures = 0 if running.reported and not lacking else self._silent_failures + 1
        if self._silent_failures == STARTUP_FAILURES and self._closing is None:
            message = (
                f"{STARTUP_FAILURES} trials in a row ended without reporting what is needed; the last one, trial "
                f"{running.spec.number}: {ending.message} (see {running.spec.folder / STDERR})"
            )
            self._close(Outcome(ExperimentState.FAILED, 1, message), Cut.INTERRUPTED)

    def _hear(self) -> None:
        """Act on what the tuner and the assessor have answered."""
        try:
            answers: Sequence[Answer] = self.advisor.answers()
        except TunerError as error:
            self._asked.clear()
            self._close(Outcome(ExperimentState.FAILED, 1, str(error)), None)
            return
        for answer in answers:
            match answer:
                case Proposed():
                    self._propose(answer)
                case Judged(number, verdict):
                    running = self._running.get(number)
                    if verdict.stop and running is not None and running.final is None:
                        self._cut(running, Cut.ASSESSOR, verdict.reason)
                case Failed(cause, asked_again):
                    self.journal.warning(cause)
                    if asked_again:
                        self._asked = dict.fromkeys(self._asked, self._finished)

    def _propose(self, answer: Proposed) -> None:
        known = self._asked.pop(answer.number)
        if answer.proposal is None:
            self._exhausted = True
            return
        if self._enough():
            return
        parameters, state = answer.proposal.parameters, answer.proposal.state
        self._create(Trial(answer.number, TrialState.WAITING, parameters, tuner_state=state, known=known))

    def _create(self, trial: Trial) -> None:
        """One more trial, which waits."""
        trial = replace(trial, created=timestamp(self.runner.now()))
        self.journal.trial_created(trial)
        self._expect(trial)

    def _expect(self, trial: Trial) -> None:
        """A trial that is in the store runs as soon as it can."""
        self.advisor.tell({"do": "created", "trial": asdict(trial)})
        self._next += 1
        self._created += trial.repeat_of is None
        self._waiting.append(trial)

    def _enforce_limits(self) -> None:
        limit = self.config.max_trial_duration
        if limit is not None:
            for running in self._running.values():
                if running.cut is None and self.runner.now() - running.started >= limit:
                    self._cut(running, Cut.TOO_LONG)
        limit = self.config.max_experiment_duration
        if limit is not None and self._closing is None and self.active_seconds() >= limit:
            self._close(self._done("maxExperimentDuration reached"), Cut.OVER)
            while self._waiting:
                self._learn(self.journal.canceled(self._waiting.pop().number, Cut.OVER.value))
        if self.runner.now() - self._active_written >= _ACTIVE_EVERY:
            self._active_written = self.runner.now()
            self.journal.active(self.active_seconds())

    def active_seconds(self) -> float:
        """How long the experiment has run, all its managers together."""
        return self._active_before + self.runner.now()

    def _timeout(self) -> float:
        """Until something is due even if nothing happens."""
        due = [self.runner.patience]
        if self.config.max_trial_duration is not None:
            starts = (running.started for running in self._running.values() if running.cut is None)
            due += [start + self.config.max_trial_duration - self.runner.now() for start in starts]
        if self.config.max_experiment_duration is not None:
            due.append(self.config.max_experiment_duration - self.active_seconds())
        return max(0.0, min(due))
