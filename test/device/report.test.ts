// `heddle doctor`'s data and text.
import { describe, expect, it } from "vitest";
import { deviceReport, renderDoctor } from "../../runtime/device/report.ts";

describe("doctor", () => {
  it("finds an adapter that meets the guaranteed minimum", async () => {
    const report = await deviceReport();
    expect(report.adapter).toBeDefined();
    expect(report.adapters.length).toBeGreaterThan(0);
    expect(report.limits.every((limit) => limit.enough)).toBe(true);
    expect(report.problems.filter((p) => p.severity === "error")).toEqual([]);
    const text = renderDoctor(report);
    expect(text).toContain(report.adapter?.name);
    expect(text).toContain("ready to run");
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it("says when the adapter runs on the CPU", async () => {
    const report = await deviceReport();
    expect(report.problems.some((p) => /runs on the CPU/.test(p.message))).toBe(report.adapter?.fallback ?? false);
  });

  it("makes a finding of an unknown adapter, with the remedy", async () => {
    const report = await deviceReport({ adapter: "no such thing" });
    expect(report.adapter).toBeUndefined();
    expect(report.problems[0]?.severity).toBe("error");
    expect(renderDoctor(report)).toMatch(/error: no adapter is called `no such thing`\n {2}= help: choose one of/);
    expect(renderDoctor(report)).not.toContain("ready to run");
  });
});
