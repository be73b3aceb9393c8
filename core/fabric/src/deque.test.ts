import fc from "fast-check";
import { expect, test } from "vitest";
import { Deque } from "./deque.ts";
import { Heap } from "./heap.ts";

const step = fc.oneof(
  fc.record({ do: fc.constant("push"), count: fc.integer({ min: 1, max: 2_000 }) }),
  fc.record({ do: fc.constant("unshift"), count: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ do: fc.constant("shift"), count: fc.integer({ min: 1, max: 2_000 }) }),
  fc.record({ do: fc.constant("take"), count: fc.integer({ min: 0, max: 2_000 }) }),
);

test("a deque is what an array would be", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const deque = new Deque<number>();
      let model: number[] = [];
      let next = 0;
      for (const { do: action, count } of steps) {
        if (action === "push") {
          for (let at = 0; at < count; at++, next++) {
            deque.push(next);
            model.push(next);
          }
        } else if (action === "unshift") {
          const items = Array.from({ length: count }, () => next++);
          deque.unshift(items);
          model = [...items, ...model];
        } else if (action === "shift") {
          for (let at = 0; at < count; at++) expect(deque.shift()).toBe(model.shift());
        } else expect(deque.take(count)).toEqual(model.splice(0, count));
        expect(deque.size).toBe(model.length);
        expect(deque.peek()).toBe(model[0]);
      }
      expect([...deque]).toEqual(model);
      deque.clear();
      expect([deque.size, deque.shift()]).toEqual([0, undefined]);
    }),
  );
});

test("a heap gives the least first", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new Heap<number>((a, b) => a - b);
      for (const number of numbers) heap.push(number);
      const sorted: number[] = [];
      while (heap.size > 0) sorted.push(heap.pop() as number);
      expect(sorted).toEqual(numbers.toSorted((a, b) => a - b));
      expect(heap.pop()).toBe(undefined);
    }),
  );
});
