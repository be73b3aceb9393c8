/** Members of envelopes that carry one or many, and the answer to a request that is refused. */
import {
  type AttemptBatch,
  type AttemptRequest,
  type DeliveryStatus,
  type DeliveryStatuses,
  type Envelope,
  FabricError,
  isFabricError,
} from "@linkspan/envelopes";

/** Every status in these envelopes, alone or among others. */
export function statusesIn(envelopes: readonly Envelope[]): DeliveryStatus[] {
  return envelopes.flatMap(({ action, payload }) => {
    if (action === "delivery_status") return [payload as DeliveryStatus];
    if (action !== "delivery_statuses") return [];
    return (payload as DeliveryStatuses).statuses.map(
      ({ message_id: _messageId, identity_id: _identityId, ...status }) => status,
    );
  });
}

/** Every question of `attempt` in these requests, alone or among others. */
export function asksIn(requests: readonly Envelope[]): AttemptRequest[] {
  return requests.flatMap(({ action, payload }) => {
    if (action !== "attempt") return [];
    return "asks" in payload ? [...(payload as AttemptBatch).asks] : [payload as AttemptRequest];
  });
}

export function refusalOf(error: unknown): { error: { code: string; detail: string } } {
  const { code, message } = isFabricError(error) ? error : new FabricError("internal", String(error));
  return { error: { code, detail: message } };
}
