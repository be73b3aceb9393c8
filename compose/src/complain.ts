/**
 * How a command reports a failure: one sentence and the code, and a stack only for a fault in our own code.
 */
import type { ErrorCode } from "@linkspan/envelopes";

interface Complaint {
  readonly detail: string;
  readonly code?: ErrorCode;
  /** The advice that belongs to the code. */
  readonly help?: string;
}

export async function complain(error: unknown, to: NodeJS.WritableStream, json: boolean): Promise<void> {
  const { detail, code, help } = await complaintOf(error);
  if (json) to.write(`${JSON.stringify({ error: { code: code ?? "internal", detail } })}\n`);
  else to.write(`linkspan: ${detail}\n${code === undefined ? "" : `  ${code}: ${help}\n`}`);
}

async function complaintOf(error: unknown): Promise<Complaint> {
  const { CODES, isFabricError } = await import("@linkspan/envelopes");
  if (isFabricError(error)) return { detail: error.message, code: error.code, help: CODES[error.code].help };
  if (!(error instanceof Error)) return { detail: String(error) };
  const ours = error.name === "ConfigError";
  return { detail: ours ? error.message : (error.stack ?? error.message) };
}
