/** Output of commands: JSON lines with `--json`, otherwise sentences; colour only on a terminal. */
import { styleText } from "node:util";

export interface Output {
  /** One result: the object as a line of JSON, or the text. */
  result(object: unknown, text: string): void;
  /** A sentence between results, for people only. */
  say(text: string): void;
  /** Progress, for people who wait at a terminal. */
  progress(text: string): void;
  good(text: string): string;
  bad(text: string): string;
  dim(text: string): string;
}

/** Respects `NO_COLOR` (no-color.org). */
export function outputTo(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream, json: boolean): Output {
  const colour = stdout.isTTY && !json && !process.env["NO_COLOR"];
  const paint = (style: "green" | "red" | "dim") => (text: string) =>
    colour ? styleText(style, text, { validateStream: false }) : text;
  return {
    result: (object, text) => void stdout.write(`${json ? JSON.stringify(object) : text}\n`),
    say: (text) => {
      if (!json) stdout.write(`${text}\n`);
    },
    progress: (text) => {
      if (!json && stderr.isTTY) stderr.write(`${text}\n`);
    },
    good: paint("green"),
    bad: paint("red"),
    dim: paint("dim"),
  };
}
