import fc from "fast-check";
import { expect, test } from "vitest";
import { AckWindow } from "./ack-window.ts";
import { ConfirmWindow } from "./confirm-window.ts";

test("acknowledges everything once, and never a tag that the broker has forgotten", () => {
  const batches = fc.integer({ min: 1, max: 60 }).chain((count) => {
    const tags = Array.from({ length: count }, (_, at) => at + 1);
    const shuffled = fc.shuffledSubarray(tags, { minLength: count, maxLength: count });
    return fc.tuple(fc.oneof(fc.constant(tags), shuffled), fc.integer({ min: 1, max: 9 }));
  });
  fc.assert(
    fc.property(batches, ([tags, size]) => {
      const outstanding = new Set(tags);
      const settled = new Set<number>();
      const window = new AckWindow({
        ack(tag, multiple) {
          expect(outstanding.has(tag), `tag ${tag}`).toBe(true);
          for (const other of outstanding) {
            if (other !== tag && !(multiple && other < tag)) continue;
            expect(settled.has(other), `${other} is acknowledged before it is settled`).toBe(true);
            outstanding.delete(other);
          }
        },
      });
      for (let at = 0; at < tags.length; ) {
        const batch = tags.slice(at, at + size);
        for (const tag of batch) settled.add(tag);
        window.settle(batch);
        expect([...outstanding].some((tag) => settled.has(tag))).toBe(false);
        at += batch.length;
      }
      expect(outstanding.size).toBe(0);
    }),
  );
});

test("acknowledges a batch in order with one frame", () => {
  const frames: [number, boolean][] = [];
  const window = new AckWindow({ ack: (tag, multiple) => frames.push([tag, multiple]) });
  window.settle([1, 2, 3]);
  window.settle([5, 6]);
  window.settle([4, 7]);
  expect(frames).toEqual([
    [3, true],
    [5, false],
    [6, false],
    [7, true],
  ]);
});

test("settles each message once, in order, whatever the confirms look like", () => {
  const confirms = fc.array(fc.record({ tag: fc.integer({ min: 1, max: 50 }), multiple: fc.boolean() }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), confirms, (count, all) => {
      const window = new ConfirmWindow<number>();
      for (let tag = 1; tag <= count; tag++) window.push(tag);
      const open = new Set(Array.from({ length: count }, (_, at) => at + 1));
      for (const { tag, multiple } of all) {
        const expected = [...open].filter((other) => (multiple ? other <= tag : other === tag));
        const got: number[] = [];
        window.confirm(tag, multiple, (sent) => got.push(sent));
        expect(got).toEqual(expected);
        for (const other of got) open.delete(other);
        expect([...window]).toEqual([...open]);
      }
    }),
  );
});
