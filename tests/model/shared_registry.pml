/* The protocol between nodes and a shared registry (cache/shared, cache/registry), as far as it decides what is in force:
   revisions, catching up, snapshots of another history, restrictions made on one node alone, and their reconciliation.
   run.sh checks it with spin; with -DBROKEN_… one rule is left out, and spin must find what it is there for.

   A device is Active or Revoked. The registry has a row for each, a revision, and a stamp that every commit draws anew.
   A node has its own rows, and a position: the revision and the stamp of the last commit that is in force there.
   An operator's revocation is acknowledged at the node it was asked of; from then on, for ever:
     - that node refuses the device, whatever is restored, crashes or comes late (checked in each step);
     - once all is quiet the registry and every node have it, and all agree (checked whenever it is).
   What may happen meanwhile: PostgreSQL goes away and comes back, or comes back from a backup that lacks the last
   commits; a node dies in the middle of a snapshot and goes on from what it has on its disk. */

#define NODES 2
#define DEVICES 2
#define HISTORY 12

#define Active 0
#define Revoked 1

/* PostgreSQL, and a backup of it. */
bool up = true;
byte row[DEVICES], changed_at[DEVICES], revision, stamp = 1, next_stamp = 2;
byte stamp_of[HISTORY]; /* by revision: the log of commits */
byte b_row[DEVICES], b_changed_at[DEVICES], b_revision, b_stamp;
bool b_made;

/* Of each node, on its disk. */
typedef Node {
  bit row[DEVICES];
  bit held[DEVICES]; /* the outbox: in force here, and not over there */
  byte position, stamp;
  bool resync /* a snapshot is being taken in */
};
Node node[NODES];
bit acked[DEVICES];             /* by anybody */
bit acked_here[4];              /* by node * DEVICES + device */
byte outages, restores, crashes, writes, locals;

#define refuses(n, d) (node[n].row[d] == Revoked || node[n].held[d])
#define follows(n) (node[n].position <= revision && stamp_of[node[n].position] == node[n].stamp)
#define current(n) (follows(n) && !node[n].resync && node[n].position == revision)
#define nothing_held(n) (!node[n].held[0] && !node[n].held[1])
#define quiet (up && current(0) && current(1) && nothing_held(0) && nothing_held(1))

/* After every step. */
inline look() {
  assert(!acked_here[0] || refuses(0, 0));
  assert(!acked_here[1] || refuses(0, 1));
  assert(!acked_here[2] || refuses(1, 0));
  assert(!acked_here[3] || refuses(1, 1));
  assert(!quiet || !acked[0] || row[0] == Revoked);
  assert(!quiet || !acked[1] || row[1] == Revoked);
  assert(!quiet || (node[0].row[0] == row[0] && node[0].row[1] == row[1]));
  assert(!quiet || (node[1].row[0] == row[0] && node[1].row[1] == row[1]))
}

/* Everything newer than the position, in one step: a batch is applied whole, or not at all. */
inline catch_up(n) {
  if
  :: changed_at[0] > node[n].position -> node[n].row[0] = row[0]
  :: else
  fi;
  if
  :: changed_at[1] > node[n].position -> node[n].row[1] = row[1]
  :: else
  fi;
  node[n].position = revision;
  node[n].stamp = stamp
}

/* A commit under the lock: the next revision, and a stamp of its own. */
inline commit(n, d, status) {
  revision++;
  assert(revision < HISTORY);
  stamp = next_stamp;
  next_stamp++;
  stamp_of[revision] = stamp;
  row[d] = status;
  changed_at[d] = revision;
  node[n].row[d] = status;
  node[n].position = revision;
  node[n].stamp = stamp
}

#ifdef BROKEN_TURN /* whoever writes does not catch up first */
#define TURN(n)
#else
#define TURN(n) catch_up(n)
#endif
#ifdef BROKEN_STAMP /* a history is known by its revision alone */
#undef follows
#define follows(n) (node[n].position <= revision)
#endif

proctype Machine(byte n) {
  byte d, seen;
end:
  do
  /* an operator revokes, with PostgreSQL */
  :: d_step { up && follows(n) && !node[n].resync && writes < 2 ->
       writes++; TURN(n); commit(n, 0, Revoked);
       acked[0] = 1; acked_here[n * DEVICES] = 1; look() }
  /* the row is written for another reason: its chain, its last day */
  :: d_step { up && follows(n) && !node[n].resync && writes < 2 ->
       writes++; TURN(n); commit(n, 0, node[n].row[0]); look() }
  :: d_step { up && follows(n) && !node[n].resync && writes < 2 ->
       writes++; TURN(n); commit(n, 1, node[n].row[1]); look() }
  /* --local, without it */
  :: d_step { !up && locals < 1 ->
       locals++;
#ifdef BROKEN_LOCAL /* it is put in force as if it were a row, and waits nowhere */
       node[n].row[1] = Revoked;
#else
       node[n].held[1] = 1;
#endif
       acked[1] = 1; acked_here[n * DEVICES + 1] = 1; look() }
  /* what others committed */
  :: d_step { up && follows(n) && !node[n].resync && node[n].position < revision -> catch_up(n); look() }
  /* reconciliation */
  :: d_step { up && follows(n) && !node[n].resync && node[n].held[0] ->
       TURN(n); commit(n, 0, Revoked); node[n].held[0] = 0; look() }
  :: d_step { up && follows(n) && !node[n].resync && node[n].held[1] ->
       TURN(n); commit(n, 1, Revoked); node[n].held[1] = 0; look() }
  /* a snapshot of another history, row by row; the process may die between any two of them, and PostgreSQL go away */
  :: d_step { up && (!follows(n) || node[n].resync) -> node[n].resync = true; d = 0; seen = stamp };
     do
     :: d_step { d < DEVICES && seen == stamp && up ->
#ifndef BROKEN_KEEP /* what was in force and is missing over there is forgotten */
          if
          :: node[n].row[d] == Revoked && row[d] == Active -> node[n].held[d] = 1
          :: else
          fi;
#endif
          node[n].row[d] = row[d];
          d++; look() }
     :: atomic { d == DEVICES && seen == stamp && up ->
          node[n].position = revision; node[n].stamp = stamp; node[n].resync = false; look(); break }
     :: atomic { seen != stamp || !up -> break } /* from the beginning, another time */
     :: atomic { crashes < 1 -> crashes++; break }
     od
  od
}

proctype Database() {
  byte seen;
end:
  do
  :: atomic { up && outages < 1 -> outages++; up = false }
  :: d_step { !up -> up = true; look() }
  :: d_step { up && !b_made ->
       b_made = true; b_revision = revision; b_stamp = stamp;
       b_row[0] = row[0]; b_row[1] = row[1];
       b_changed_at[0] = changed_at[0]; b_changed_at[1] = changed_at[1] }
  :: d_step { up && b_made && restores < 1 ->
       restores++;
       revision = b_revision; stamp = b_stamp;
       row[0] = b_row[0]; row[1] = b_row[1];
       changed_at[0] = b_changed_at[0]; changed_at[1] = b_changed_at[1];
       seen = revision + 1;
       do
       :: seen < HISTORY -> stamp_of[seen] = 0; seen++
       :: else -> break
       od;
       seen = 0; look() }
  od
}

init {
  atomic {
    stamp_of[0] = 1; node[0].stamp = 1; node[1].stamp = 1;
    run Database(); run Machine(0); run Machine(1)
  }
}
