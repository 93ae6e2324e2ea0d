// heddle doctor: the adapter, its limits and features, fallback state, and what to do about each problem.

import type { Command } from "commander";
import { deviceReport, renderDoctor } from "../../runtime/device/report.ts";
import { EXIT, Exit } from "../exit_code.ts";

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("look at the adapter: limits, features, problems and remedies")
    .option("--json", "the report as JSON on stdout")
    .action(async (options: { json?: boolean }) => {
      const report = await deviceReport();
      process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : `${renderDoctor(report)}\n`);
      if (report.problems.some((p) => p.severity === "error")) throw new Exit(EXIT.failed);
    });
}
