import { expect, test } from "vitest";
import { hashToken, newToken, tokenOf } from "./secrets.ts";

test("tokens differ, and each is one of its own kind only", () => {
  const token = newToken("lsp");
  expect(token).not.toBe(newToken("lsp"));
  expect(tokenOf(token, "lsp")).toBe(token);
  expect(tokenOf(token, "lse")).toBeUndefined();
  for (const wrong of ["", "lsp_", `${token}x`, ` ${token}`, token.replace("lsp_", "LSP_"), `${token}\n`]) {
    expect(tokenOf(wrong, "lsp")).toBeUndefined();
  }
});

test("the hash is of the whole token, so that a prefix tells kinds apart at rest too", () => {
  const tail = newToken("lsp").slice(4);
  expect(Buffer.from(hashToken(`lsp_${tail}`)).equals(Buffer.from(hashToken(`lse_${tail}`)))).toBe(false);
  expect(hashToken(`lsp_${tail}`)).toHaveLength(32);
});
