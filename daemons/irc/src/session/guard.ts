/** Runs work that a timer or the socket calls: what it throws ends the connection of this identity and nothing else. */
export type Guard = (work: () => void) => void;
