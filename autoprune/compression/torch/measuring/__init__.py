"""What a model costs, figure by figure: `counting` what it has, `macs` what it computes, `files` its bytes, and
`latency` its time and memory. `measured` puts them together as `autoprune.compression.cost` shows them."""
