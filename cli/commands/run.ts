// heddle run BUNDLE TASK field=value …: fill in a task's predicted fields. No compiler is loaded.

import type { Command } from "commander";
import { load, readBundle } from "../../runtime/bundle/open.ts";
import { bundleSource } from "../../runtime/bundle/source.ts";
import { startProgress } from "../progress.ts";
import { givenFields, type RunFlags, runTask, taskOptions } from "../task.ts";

export function addRun(program: Command): void {
  taskOptions(
    program
      .command("run")
      .description("run a task of a bundle; no compiler is used")
      .argument("<bundle>", "folder made by heddle build")
      .argument("<task>", "task of the model")
      .argument("[fields...]", 'given fields: caption="digit 7" picture=seven.png'),
  ).action(async (bundle: string, task: string, fields: string[], flags: RunFlags) => {
    const { manifest } = await readBundle(bundleSource(bundle));
    const given = givenFields(manifest.model, task, fields);
    const bar = startProgress("kernels", 60);
    const ready = await load(bundle, { progress: (stage, done, total) => stage === "kernels" && bar.update(done, total) });
    bar.stop();
    try {
      await runTask(ready, task, given, flags);
    } finally {
      await ready.destroy();
      await ready.machine.host.destroy();
    }
  });
}
