/** DSSE's pre-authentication encoding: what is signed (contract section 4). */

export const ENVELOPE_TYPE = "application/vnd.msgr.bridge.v1+json";
export const TICKET_TYPE = "application/vnd.msgr.ticket.v1+json";
export const ENROLMENT_TYPE = "application/vnd.linkspan.enrolment.v1+json";
export const BATCH_TYPE = "application/vnd.linkspan.batch.v1";
export const CHECKPOINT_TYPE = "application/vnd.msgr.checkpoint.v1+json";

/** `"DSSEv1" SP len(type) SP type SP len(body) SP body`, lengths in bytes and decimal. */
export function pae(type: string, body: Uint8Array): Uint8Array {
  const head = `${type === ENVELOPE_TYPE ? ENVELOPE_HEAD : headOf(type)}${body.byteLength} `;
  const headBytes = Buffer.byteLength(head);
  const bytes = Buffer.allocUnsafe(headBytes + body.byteLength);
  bytes.write(head, "utf8");
  bytes.set(body, headBytes);
  return bytes;
}

/** The same for every envelope. */
const ENVELOPE_HEAD = headOf(ENVELOPE_TYPE);

function headOf(type: string): string {
  return `DSSEv1 ${Buffer.byteLength(type)} ${type} `;
}
