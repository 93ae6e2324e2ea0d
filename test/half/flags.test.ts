// --precision and --target: which kernels they ask for.

import { expect, test } from "vitest";
import { kernelsFor } from "../../cli/compile.ts";
import { describeAdapter } from "../../cli/device.ts";

test("halves are elements only on an adapter that is known to have them", async () => {
  expect(await kernelsFor({ target: "guaranteed", precision: "f16" })).toMatchObject({ precision: "f16", target: { name: "guaranteed", f16: false } });
  const adapter = await describeAdapter();
  expect((await kernelsFor({ target: "auto", precision: "f16" })).target.f16).toBe(adapter.features.includes("shader-f16"));
  expect((await kernelsFor({ target: "auto", precision: "f32" })).target.f16).toBe(false);
});

test("another precision is refused", async () => {
  await expect(kernelsFor({ target: "software", precision: "bf16" })).rejects.toMatchObject({ code: "E0582", exit: 2 });
});
