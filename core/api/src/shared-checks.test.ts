import { expect, test, vi } from "vitest";
import { SharedChecks } from "./shared-checks.ts";

const never = () => new Promise<never>(() => undefined);

test("a check that hangs is answered in time, and is begun once however many ask", async () => {
  const check = vi.fn(never);
  const checks = new SharedChecks(50);
  const hanging = { name: "database", help: "start it", check };
  const answers = await Promise.all(Array.from({ length: 200 }, () => checks.of(hanging)));
  expect(new Set(answers.map(({ ok, help }) => `${ok} ${help}`))).toEqual(new Set(["false start it"]));
  expect(await checks.of(hanging)).toMatchObject({ ok: false, detail: "no answer in time" });
  expect(check).toHaveBeenCalledTimes(1);
});

test("one check that hangs does not delay the answer of another", async () => {
  const checks = new SharedChecks(60_000);
  void checks.of({ name: "database", check: never });
  const ok = { name: "bus", check: async () => ({ ok: true, detail: "up" }) };
  expect(await checks.of(ok)).toMatchObject({ name: "bus", ok: true });
});

test("a check that rejects is not ok, tells everybody the same, and is asked anew", async () => {
  const check = vi.fn(() => Promise.reject(new Error("password is hunter2")));
  const checks = new SharedChecks(1_000);
  const failing = { name: "vault", help: "unseal it", check };
  const answer = await checks.of(failing);
  expect(answer).toMatchObject({ ok: false, help: "unseal it" });
  expect(JSON.stringify(answer)).not.toContain("hunter2");
  await checks.of(failing);
  expect(check).toHaveBeenCalledTimes(2);
});
