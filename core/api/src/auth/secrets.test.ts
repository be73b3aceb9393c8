import { expect, test } from "vitest";
import { enrolmentTokenOf, hashToken, newEnrolmentToken, newToken, tokenOf } from "./secrets.ts";

const kid = "k".repeat(43);

test("tokens differ, and each is one of its own kind only", () => {
  const token = newToken();
  expect(token).not.toBe(newToken());
  expect(tokenOf(token)).toBe(token);
  expect(tokenOf(newEnrolmentToken(kid))).toBeUndefined();
  expect(enrolmentTokenOf(token, kid)).toBeUndefined();
  for (const wrong of ["", "lsp_", `${token}x`, ` ${token}`, token.replace("lsp_", "LSP_"), `${token}\n`]) {
    expect(tokenOf(wrong)).toBeUndefined();
  }
});

test("an enrolment token is good at the core that it names and at no other", () => {
  const token = newEnrolmentToken(kid);
  expect(enrolmentTokenOf(token, kid)).toBe(token);
  expect(enrolmentTokenOf(token, "x".repeat(43))).toBeUndefined();
});

test("the hash is of the whole token, so that a prefix tells kinds apart at rest too", () => {
  const tail = newToken().slice(4);
  expect(Buffer.from(hashToken(`lsp_${tail}`)).equals(Buffer.from(hashToken(`lse_${tail}`)))).toBe(false);
  expect(hashToken(`lsp_${tail}`)).toHaveLength(32);
});
