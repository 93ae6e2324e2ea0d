// Property tests draw the same cases in every run, so that a failure belongs to the change that caused it. FUZZ_SEED=N draws
// others, FUZZ_RUNS=N more of them where a test says so; a case found that way becomes a test of its own.

import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env["FUZZ_SEED"] ?? 2026) });
