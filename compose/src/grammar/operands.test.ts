import { Command } from "commander";
import { expect, test } from "vitest";
import { operandsLast } from "./operands.ts";

const KID = `-${"b".repeat(42)}`;
const DOUBLE = `--${"c".repeat(41)}`;

async function parsed(...args: string[]) {
  const seen: unknown[] = [];
  const program = new Command()
    .option("--json")
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  const daemon = program.command("daemon");
  const act = (...all: unknown[]) => void seen.push(...all.slice(0, -1));
  daemon.command("revoke <kid>").option("--why <reason>").action(act);
  daemon.command("give-up <queue> <id>").action(act);
  program.command("audit").option("--subject <id>").action(act);
  await program.parseAsync(operandsLast(["node", "linkspan", ...args]));
  return seen;
}

test.each([
  ["alone", ["daemon", "revoke", KID], [KID, {}]],
  ["before an option", ["daemon", "revoke", KID, "--why", "x"], [KID, { why: "x" }]],
  ["behind an option", ["daemon", "revoke", "--why", "x", KID], [KID, { why: "x" }]],
  ["behind an option with its value", ["daemon", "revoke", "--why=x", KID], [KID, { why: "x" }]],
  ["with two dashes", ["--json", "daemon", "revoke", DOUBLE, "--why", "x"], [DOUBLE, { why: "x" }]],
  ["behind --, as before", ["daemon", "revoke", "--why", "x", "--", KID], [KID, { why: "x" }]],
  ["as the second operand", ["daemon", "give-up", "core.requests", KID], ["core.requests", KID, {}]],
  ["as an option's value", ["audit", "--subject", KID], [{ subject: KID }]],
] as const)("an id that begins with a dash is no option: %s", async (_where, args, expected) => {
  expect(await parsed(...args)).toEqual(expected);
});

test("an option that nobody knows is still refused", async () => {
  await expect(parsed("daemon", "revoke", "--what")).rejects.toThrow("unknown option");
});
