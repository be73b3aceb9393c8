import fc from "fast-check";
import { expect, test } from "vitest";
import { shareOf } from "./partitions.ts";

test("shares cover every partition once and differ by one at most", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 1, max: 200 }), (count, workers) => {
      const shares = Array.from({ length: workers }, (_, place) => shareOf(place, workers, count));
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(count);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }),
  );
});
