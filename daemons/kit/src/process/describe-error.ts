/** How an error is logged: an SDK's message may quote the SDK's input, so it is left out. */

const FRAMES = 5;
const CAUSES = 3;
/** A line of a stack that names a place in code, and nothing else. */
const FRAME = /^\s+at (?:.*\()?[^()]*:\d+:\d+\)?$/;

/** Name, code, message if it is ours, and where it was thrown; the same for its causes. For pino's `err`. */
export function describeError(error: unknown, causes = CAUSES): Record<string, unknown> {
  if (!(error instanceof Error)) return { name: typeof error };
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const own = error.name === "FabricError" ? { message: error.message } : {};
  const stack = framesOf(error);
  const cause =
    causes > 0 && error.cause instanceof Error ? describeError(error.cause, causes - 1) : undefined;
  return {
    name: error.name,
    ...code,
    ...own,
    ...(stack.length > 0 && { stack }),
    ...(cause !== undefined && { cause }),
  };
}

/** The innermost calls first. The stack repeats the message, whose lines may look like calls. */
export function framesOf({ stack, message }: Error): string[] {
  if (typeof stack !== "string") return [];
  const at = message === "" ? -1 : stack.indexOf(message);
  const calls = at < 0 ? stack : stack.slice(at + message.length);
  return calls
    .split("\n")
    .filter((line) => FRAME.test(line))
    .slice(0, FRAMES)
    .map((line) => line.trim());
}
