-- Numbering that waits for nobody, and that goes on after a restore.
--
-- The sequencer remembers a snapshot: every event that is visible in `done` has its position. New are the rows
-- whose transaction had not ended then. A transaction that stays open, whoever's it is, holds up only its own
-- rows. While a large step is numbered in pieces, `target` is the snapshot that it reaches and
-- (`cursor_xid`, `cursor_id`) how far it is.
--
-- Transaction ids mean something only in the database that gave them. `installation` tells which one that was;
-- when it changes (restore, failover, upgrade), `resume_positions` numbers what has no position yet by id and
-- starts from a new snapshot. `after_id`: older rows are settled, whatever their transaction ids look like now.

ALTER TABLE sequencer
  ADD COLUMN done         pg_snapshot,
  ADD COLUMN target       pg_snapshot,
  ADD COLUMN cursor_xid   xid8   NOT NULL DEFAULT '0',
  ADD COLUMN cursor_id    bigint NOT NULL DEFAULT 0,
  ADD COLUMN newest_id    bigint NOT NULL DEFAULT 0,
  ADD COLUMN after_id     bigint NOT NULL DEFAULT 0,
  ADD COLUMN installation text;
-- The cluster, its timeline (another after each failover or recovery), and this copy of the tables. The first two
-- stay the same as long as a session lasts, and cost a millisecond, so a session asks once.
CREATE FUNCTION current_installation() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  cluster text := nullif(current_setting('linkspan.cluster', true), '');
BEGIN
  IF cluster IS NULL THEN
    cluster := concat_ws(':', (SELECT system_identifier FROM pg_control_system()),
                              left(pg_walfile_name(pg_current_wal_insert_lsn()), 8));
    PERFORM set_config('linkspan.cluster', cluster, false);
  END IF;
  RETURN concat_ws(':', cluster, 'sequencer'::regclass::oid);
END $$;

UPDATE sequencer SET
  done       = format('%s:%s:', greatest(xid::text::numeric, 3), greatest(xid::text::numeric, 3))::pg_snapshot,
  target     = CASE WHEN xid > '3' THEN format('%s:%s:', xid::text::numeric + 1, xid::text::numeric + 1)::pg_snapshot END,
  cursor_xid = xid,
  cursor_id  = event_id,
  newest_id  = coalesce((SELECT max(event_id) FROM event_positions), 0),
  -- Ids from the future come from another database, which a restore left behind.
  installation = CASE WHEN xid < pg_snapshot_xmax(pg_current_snapshot()) THEN current_installation() END;
ALTER TABLE sequencer ALTER COLUMN done SET NOT NULL,
  DROP COLUMN xid, DROP COLUMN event_id, DROP COLUMN received_at;

-- Positions for at most `at_most` rows. `moved`: nothing can be given before `resume_positions` ran.
-- It runs for every few events, so its plan is made once for a session: along the index, whatever was in the tables
-- at that moment.
CREATE FUNCTION advance_positions(at_most integer, OUT newest bigint, OUT given bigint, OUT moved boolean)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
  seat sequencer;
  late xid8[];
  last record;
  halfway boolean;
BEGIN
  moved := false;
  given := 0;
  SELECT * INTO seat FROM sequencer FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN; END IF;
  newest := seat.position;
  IF seat.installation IS DISTINCT FROM current_installation()
     OR pg_snapshot_xmax(seat.done) > pg_snapshot_xmax(pg_current_snapshot()) THEN
    moved := true;
    RETURN;
  END IF;
  LOOP
    halfway := seat.target IS NOT NULL;
    IF NOT halfway THEN
      seat.target := pg_current_snapshot();
      seat.cursor_xid := '0';
      seat.cursor_id := 0;
    END IF;
    late := ARRAY(SELECT pg_snapshot_xip(seat.done));
    WITH fresh AS (
      (SELECT e.xid, e.id, e.received_at, e.workspace_id FROM events e
        WHERE e.xid = ANY (late) AND e.id > seat.after_id
          AND (e.xid, e.id) > (seat.cursor_xid, seat.cursor_id) AND pg_visible_in_snapshot(e.xid, seat.target)
        ORDER BY e.xid, e.id LIMIT at_most)
      UNION ALL
      (SELECT e.xid, e.id, e.received_at, e.workspace_id FROM events e
        WHERE e.xid >= pg_snapshot_xmax(seat.done) AND e.xid < pg_snapshot_xmax(seat.target) AND e.id > seat.after_id
          AND (e.xid, e.id) > (seat.cursor_xid, seat.cursor_id) AND pg_visible_in_snapshot(e.xid, seat.target)
        ORDER BY e.xid, e.id LIMIT at_most)
      ORDER BY xid, id LIMIT at_most
    ), placed AS (
      INSERT INTO event_positions (position, workspace_id, event_id, received_at, xid)
      SELECT seat.position + row_number() OVER (ORDER BY xid, id), workspace_id, id, received_at, xid FROM fresh
      RETURNING position, event_id, xid
    )
    SELECT count(*) AS rows, max(p.position) AS position, max(p.event_id) AS newest_id,
           (array_agg(p.xid ORDER BY p.position DESC))[1] AS xid,
           (array_agg(p.event_id ORDER BY p.position DESC))[1] AS id
      INTO last FROM placed p;
    given := last.rows;
    EXIT WHEN given = 0 AND NOT halfway;
    newest := coalesce(last.position, seat.position);
    IF given < at_most THEN
      UPDATE sequencer SET position = newest, newest_id = greatest(newest_id, coalesce(last.newest_id, 0)),
             done = seat.target, target = NULL, cursor_xid = '0', cursor_id = 0;
    ELSE
      UPDATE sequencer SET position = newest, newest_id = greatest(newest_id, last.newest_id),
             target = seat.target, cursor_xid = last.xid, cursor_id = last.id;
    END IF;
    EXIT WHEN given > 0;
    -- The step was at its end already: on to what was committed since.
    seat.done := seat.target;
    seat.target := NULL;
  END LOOP;
END $$;

-- After a move. Positions jump by `gap`, because what was numbered after the backup is lost and its readers
-- have cursors beyond what is stored; numbers that were given once are not given again.
CREATE FUNCTION resume_positions(gap bigint, OUT newest bigint, OUT given bigint)
LANGUAGE plpgsql AS $$
DECLARE
  seat sequencer;
  start bigint;
  last_id bigint;
BEGIN
  given := 0;
  SELECT * INTO seat FROM sequencer FOR UPDATE;
  newest := seat.position;
  IF seat.installation IS NOT DISTINCT FROM current_installation()
     AND pg_snapshot_xmax(seat.done) <= pg_snapshot_xmax(pg_current_snapshot()) THEN RETURN; END IF;
  -- No row may come in with an id below the ones that are settled here.
  LOCK TABLE ONLY events IN SHARE MODE;
  start := seat.position + CASE WHEN seat.installation IS NULL THEN 0 ELSE gap END;
  WITH missing AS (
    SELECT e.xid, e.id, e.received_at, e.workspace_id FROM events e
     WHERE e.id > seat.after_id
       AND (e.id > seat.newest_id
            OR NOT (pg_visible_in_snapshot(e.xid, seat.done)
                    OR (seat.target IS NOT NULL AND pg_visible_in_snapshot(e.xid, seat.target)
                        AND (e.xid, e.id) <= (seat.cursor_xid, seat.cursor_id))))
  ), placed AS (
    INSERT INTO event_positions (position, workspace_id, event_id, received_at, xid)
    SELECT start + row_number() OVER (ORDER BY id), workspace_id, id, received_at, xid FROM missing
    RETURNING event_id
  )
  SELECT count(*), greatest(max(event_id), seat.newest_id) INTO given, last_id FROM placed;
  last_id := greatest(last_id, seat.newest_id);
  IF (SELECT last_value FROM event_ids) < last_id THEN PERFORM setval('event_ids', last_id); END IF;
  newest := start + given;
  UPDATE sequencer SET position = newest, newest_id = last_id,
         after_id = greatest(last_id, (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM event_ids)),
         done = pg_current_snapshot(), target = NULL, cursor_xid = '0', cursor_id = 0,
         installation = current_installation();
END $$;
