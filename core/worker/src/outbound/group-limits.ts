/** Bounds of the groups in which intents are recorded. */

export interface GroupLimits {
  readonly members: number;
  readonly bytes: number;
  /** Members that wait, of all workspaces; more are refused. */
  readonly waiting: number;
  /** A lane that was held for so long is waited for, milliseconds. */
  readonly patienceMs: number;
  /** A group that failed is taken apart for so long; then all of it fails. */
  readonly takingApartMs: number;
}

export const GROUP_LIMITS: GroupLimits = {
  members: 200,
  bytes: 4 * 1_048_576,
  waiting: 20_000,
  patienceMs: 300,
  takingApartMs: 3_000,
};
