/** `linkspan events`: inbound events, page by page or as they arrive. */
import { CODES, type ErrorCode, FabricError, isFabricError } from "@linkspan/envelopes";
import { sleep, systemClock } from "@linkspan/time";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

export interface EventsOptions {
  readonly follow: boolean;
  readonly cursor: number | "latest";
  readonly limit: number;
}

interface EventView {
  readonly position: number;
  readonly service: string;
  readonly conversation?: string;
  readonly envelope: {
    readonly payload: {
      readonly text?: string;
      readonly kind?: string;
      readonly sender?: { readonly name?: string };
    };
  };
}

const AGAIN_MS = 1_000;

/** Prints events after the cursor; with `follow`, until aborted, and resumes where the stream broke. */
export async function events(
  client: Client,
  out: Output,
  options: EventsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { cursor, limit, follow } = options;
  if (!follow) {
    const page = await client.get<{ events: EventView[] }>(`/v1/events?cursor=${cursor}&limit=${limit}`);
    for (const event of page.events) show(out, event);
    return;
  }
  let last: number | undefined;
  while (!signal.aborted) {
    try {
      const from = last === undefined ? undefined : String(last);
      for await (const message of client.stream(`/v1/events/stream?cursor=${cursor}`, signal, from)) {
        if (message.event === "end") throw endOf(message.data);
        const event = JSON.parse(message.data) as EventView;
        show(out, event);
        last = event.position;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isFabricError(error) && !isPassing(error)) throw error;
      out.progress(`the stream broke (${(error as Error).message}); trying again`);
    }
    await sleep(systemClock, AGAIN_MS, signal);
  }
}

/** Why the server ended the stream. */
function endOf(data: string): FabricError {
  const { code, detail } = JSON.parse(data) as { code: ErrorCode; detail: string };
  return new FabricError(code, detail);
}

/** Another program in the API's place is a permanent fault of the installation, so it is not retried. */
function isPassing({ code }: FabricError): boolean {
  return code !== "internal" && CODES[code].retry !== "never";
}

function show(out: Output, event: EventView): void {
  const { payload } = event.envelope;
  const who = payload.sender?.name ?? "?";
  const what = payload.text ?? `[${payload.kind ?? "event"}]`;
  out.result(
    event,
    `${out.dim(`${event.position} ${event.conversation ?? event.service}`)} <${who}> ${what}`,
  );
}
