/** `bridge/core/changed`: notifies daemons to ask again. It may be lost; daemons also ask periodically. */
import { type Changed, NAMESPACE_WORKSPACE, PRIMARY } from "@linkspan/envelopes";
import type { Core } from "../core.ts";
import { CORE, freshNoteId, outgoing } from "../send.ts";

const TTL_MS = 60_000;

export function tellChanged(core: Core, changed: Changed): void {
  const message = outgoing(
    core,
    {
      service: CORE,
      instance: PRIMARY,
      action: "changed",
      workspaceId: NAMESPACE_WORKSPACE,
      messageId: freshNoteId("changed"),
      payload: changed,
    },
    { mandatory: false, ttlMs: TTL_MS },
  );
  core.bus.publish(message).catch((error: unknown) => {
    core.log.debug(
      { event: "changed.dropped", what: changed.what, err: error },
      "daemons were not notified; they will ask by themselves",
    );
  });
}
