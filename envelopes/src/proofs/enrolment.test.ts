import { expect, test } from "vitest";
import { coreKidOf, enrolmentToken, proveEnrolment, signEnrolment } from "./enrolment.ts";
import { codeOf, coreSigner, daemon, recordOf } from "../sample.ts";

const secret = "s".repeat(43);
const answer = {
  kid: daemon.kid,
  core_keys: [recordOf(coreSigner, { issuers: ["core"] })],
  partitions: 8,
  generation: 1,
};

test("a token names the core's key, and nothing else is one", () => {
  expect(coreKidOf(enrolmentToken(secret, coreSigner.kid))).toBe(coreSigner.kid);
  for (const none of ["", `lse_${secret}`, `lsp_${secret}.${coreSigner.kid}`, `lse_${secret}.${secret}x`]) {
    expect(coreKidOf(none)).toBeUndefined();
  }
});

test("the named core's answer is proven", () => {
  const sig = signEnrolment(answer, coreSigner);
  expect(() => proveEnrolment(answer, sig, coreSigner.kid)).not.toThrow();
});

test.each([
  [
    "another core answers",
    { ...answer, core_keys: [recordOf(daemon, { issuers: ["core"] })] },
    "envelope.unknown_key",
  ],
  [
    "the key is nobody's",
    { ...answer, core_keys: [recordOf(coreSigner, { issuers: ["backend:x"] })] },
    "envelope.unknown_key",
  ],
  [
    "a key is put beside the core's",
    { ...answer, core_keys: [...answer.core_keys, recordOf(daemon, { issuers: ["core"] })] },
    "envelope.bad_signature",
  ],
  ["another key was registered", { ...answer, kid: coreSigner.kid }, "envelope.bad_signature"],
  ["the partitions were changed", { ...answer, partitions: 4 }, "envelope.bad_signature"],
] as const)("an answer on its way is not changed: %s", (_what, changed, code) => {
  const sig = signEnrolment(answer, coreSigner);
  expect(codeOf(() => proveEnrolment(changed, sig, coreSigner.kid))).toBe(code);
  expect(codeOf(() => proveEnrolment(answer, "", coreSigner.kid))).toBe("envelope.bad_signature");
});
