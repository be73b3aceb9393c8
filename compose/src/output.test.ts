import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { outputTo } from "./output.ts";

class Recorded extends Writable {
  text = "";
  readonly isTTY: boolean;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

function speak({ terminal, json }: { terminal: boolean; json: boolean }) {
  const [stdout, stderr] = [new Recorded(terminal), new Recorded(terminal)];
  const out = outputTo(
    stdout as unknown as NodeJS.WriteStream,
    stderr as unknown as NodeJS.WriteStream,
    json,
  );
  out.say("Look:");
  out.progress("working…");
  out.result({ state: "sent" }, `${out.good("sent")} ${out.bad("no")} ${out.dim("x")}`);
  return { stdout: stdout.text, stderr: stderr.text };
}

beforeEach(() => void vi.stubEnv("NO_COLOR", ""));
afterEach(() => void vi.unstubAllEnvs());

test("a terminal gets colour and progress", () => {
  const { stdout, stderr } = speak({ terminal: true, json: false });
  expect(stdout).toContain("\u001b[32msent");
  expect(stderr).toBe("working…\n");
});

test("NO_COLOR takes the colour away", () => {
  vi.stubEnv("NO_COLOR", "1");
  expect(speak({ terminal: true, json: false }).stdout).toBe("Look:\nsent no x\n");
});

test("a pipe gets plain text and no progress", () => {
  expect(speak({ terminal: false, json: false })).toEqual({ stdout: "Look:\nsent no x\n", stderr: "" });
});

test("--json gets the object and nothing else, on a terminal too", () => {
  for (const terminal of [true, false]) {
    expect(speak({ terminal, json: true })).toEqual({ stdout: '{"state":"sent"}\n', stderr: "" });
  }
});
