import { type DestinationStream, pino } from "pino";

/**
 * Standard error, for a logger. When nothing can be written to it any more, for example after its terminal
 * was closed, lines are dropped: pino alone would try for ever to write the last one before the process may
 * end.
 */
export function logDestination(): DestinationStream {
  const destination = pino.destination({ dest: 2, sync: false });
  destination.on("error", () => {
    const silent = {
      write: () => true,
      flush: () => undefined,
      flushSync: () => undefined,
      end: () => undefined,
    };
    Object.assign(destination, silent);
  });
  return destination;
}
