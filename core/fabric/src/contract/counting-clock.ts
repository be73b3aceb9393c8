import { type Clock, systemClock } from "../clock.ts";

/** The system's clock, which knows how many of its timers are set. */
export class CountingClock implements Clock {
  pending = 0;

  now(): number {
    return systemClock.now();
  }

  after(afterMs: number, run: () => void): () => void {
    let isSet = true;
    const over = (): void => {
      if (isSet) this.pending--;
      isSet = false;
    };
    this.pending++;
    const cancel = systemClock.after(afterMs, () => {
      over();
      run();
    });
    return () => {
      over();
      cancel();
    };
  }
}
