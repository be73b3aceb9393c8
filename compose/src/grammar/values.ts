/** Parsers of option values. An invalid value is refused before any request to a server. */
import { InvalidArgumentError } from "commander";

export function positive(text: string): number {
  const value = position(text);
  if (value === 0) throw new InvalidArgumentError("It must be at least 1.");
  return value;
}

export function position(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("It is not a whole number.");
  }
  return value;
}

export function cursor(text: string): number | "latest" {
  return text === "latest" ? text : position(text);
}

/** Separated by commas. */
export function list(text: string): readonly string[] {
  const items = text.split(",").map((item) => item.trim());
  if (items.includes("")) throw new InvalidArgumentError("A name is empty.");
  return items;
}

/** `name=value`, repeatable. */
export function pairs(text: string, before: readonly (readonly [string, string])[]) {
  const at = text.indexOf("=");
  if (at <= 0) throw new InvalidArgumentError("It is not name=value.");
  return [...before, [text.slice(0, at), text.slice(at + 1)] as const];
}
