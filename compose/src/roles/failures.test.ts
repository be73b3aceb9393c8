import { expect, test } from "vitest";
import { Failures } from "./failures.ts";

test("the first failure counts, an orderly ending does not", async () => {
  const failures = new Failures();
  const later = Promise.withResolvers<void>();
  failures.watch(Promise.resolve());
  failures.watch(later.promise);
  const pending = Promise.race([failures.first.catch(() => "failed"), Promise.resolve("nothing yet")]);
  expect(await pending).toBe("nothing yet");
  later.reject(new Error("the daemon"));
  failures.watch(Promise.reject(new Error("another")));
  await expect(failures.first).rejects.toThrow("the daemon");
});
