/** The progress of the blob that is sent. */
export interface SendingProgress {
  /** Milliseconds that never go back. */
  readonly now: number;
  /** Bytes of the archive that were sent. */
  readonly sent: number;
  /** Bytes of the blob that is sent that are here and that the client has not taken. */
  readonly ready: number;
  /** Whether the rest of that blob is here. */
  readonly isWhole: boolean;
}

/**
 * Decides how many of the next blobs may be fetched while one is sent, so that read-ahead never slows that one down.
 *
 * If the blob that is sent is well ahead of its client, the line to the registry is free for others; if the blob is whole,
 * for the next one. Otherwise the client waits for the registry. Then nobody knows whether another connection takes its bytes from the blob that is
 * sent, as on a shared line, or adds to them, as where a registry limits each connection. So the controller tries it for
 * a moment: one connection more, and later one less, and compares the rates at which the blob comes. The longer a level
 * proves right, the rarer the tries are.
 */
export interface ReadAheadControl {
  /** Begins with another blob. */
  next(): void;
  /** Returns how many of the next blobs may be fetched now. */
  update(progress: SendingProgress): number;
  /** Whether a try is under way, which has to be ended even if no byte comes. */
  readonly isTrying: boolean;
}

/** A rate is measured over so many milliseconds and about so many bytes, since both are lumpy. */
export const SAMPLE_MS = 50;
const SAMPLE_BYTES = 128 * 1024;
const LONGEST_SAMPLE_MS = 1000;
/** Samples without which a rate is not known. */
const LEAST_SAMPLES = 5;
/**
 * Samples of a try, and after how many of them the rates have settled: what queues on the line, and what fills the buffers
 * of a connection that has to wait, still takes from it for a moment.
 */
const [TRY_SAMPLES, SETTLED_SAMPLES, CLEAR_SAMPLES] = [7, 4, 2] as const;
/** A connection more takes a half, a third, or a quarter on a shared line; less than that is noise. */
const [HARMED, CLEARLY_HARMED, GAINED] = [0.9, 0.7, 1.1] as const;
/** Milliseconds between two tries: first, after one that has changed something, and at most. */
const [FIRST_HOLD_MS, SHORTEST_HOLD_MS, LONGEST_HOLD_MS] = [400, 100, 30_000] as const;
const HOLD_GROWTH = 5;
/** A blob is well ahead if its client takes so long for what is ready; it is so until a quarter of that is left. */
const CUSHION_MS = 1000;
const LEAST_CUSHION = 4 * 1024 * 1024;
const LEFT = 0.25;
/** The weight of the latest sample in a rate. */
const WEIGHT = 0.5;

/** @param most how many blobs are fetched ahead at most */
export function createReadAheadControl(most: number): ReadAheadControl {
  let level = 0;
  let step: 1 | -1 = 1;
  let isRoomy = false;
  /** Bytes a millisecond at which the blob comes, and at which the client takes it. */
  let rate: number | undefined;
  let taking = 0;
  let sample: SendingProgress | undefined;
  let heldSince: number | undefined;
  let hold: number = FIRST_HOLD_MS;
  /** Milliseconds before one more, or one less, is tried again. */
  const patience = { 1: FIRST_HOLD_MS as number, [-1]: FIRST_HOLD_MS as number };
  /** While a connection more, or less, is tried. */
  let attempt: { milliseconds: number; bytes: number } | undefined;
  /** Since a hold or a try began. */
  let samples = 0;

  const startHold = (now: number, milliseconds: number): void => {
    attempt = undefined;
    sample = undefined;
    samples = 0;
    heldSince = now;
    hold = milliseconds;
  };
  const startTry = (): void => {
    attempt = { milliseconds: 0, bytes: 0 };
    samples = 0;
  };
  const accept = (now: number, reached: number): void => {
    level += step;
    rate = reached;
    patience[1] = patience[-1] = FIRST_HOLD_MS;
    const isLast = level === 0 || level === most;
    if (isLast) step = level === 0 ? 1 : -1;
    startHold(now, isLast ? FIRST_HOLD_MS : SHORTEST_HOLD_MS);
  };
  const reject = (now: number): void => {
    patience[step] = Math.min(patience[step] * HOLD_GROWTH, LONGEST_HOLD_MS);
    if (level > 0 && level < most) step = step === 1 ? -1 : 1;
    startHold(now, patience[step]);
  };
  const judge = (now: number, milliseconds: number, bytes: number): void => {
    samples += 1;
    if (attempt === undefined || rate === undefined) {
      const latest = bytes / milliseconds;
      rate = rate === undefined ? latest : rate + (latest - rate) * WEIGHT;
      heldSince ??= now;
      if (samples >= LEAST_SAMPLES && now - heldSince >= hold) startTry();
      return;
    }
    if (samples === SETTLED_SAMPLES + 1) attempt = { milliseconds: 0, bytes: 0 };
    attempt.milliseconds += milliseconds;
    attempt.bytes += bytes;
    const isClear = samples === CLEAR_SAMPLES && step === 1;
    if (isClear && attempt.bytes / attempt.milliseconds < rate * CLEARLY_HARMED) {
      reject(now);
      return;
    }
    if (samples < TRY_SAMPLES) return;
    const reached = attempt.bytes / attempt.milliseconds;
    const isRight = step === 1 ? reached >= rate * HARMED : reached > rate * GAINED;
    if (isRight) accept(now, reached);
    else reject(now);
  };

  return {
    get isTrying() {
      return attempt !== undefined;
    },
    next() {
      attempt = undefined;
      sample = undefined;
      samples = 0;
    },
    update(progress) {
      const { now, sent, ready, isWhole } = progress;
      const cushion = Math.max(taking * CUSHION_MS, LEAST_CUSHION);
      const wasRoomy = isRoomy;
      isRoomy = ready >= (wasRoomy || isWhole ? cushion * LEFT : cushion);
      if (wasRoomy !== isRoomy) {
        // The rates of one say nothing of the other.
        rate = undefined;
        startHold(now, hold);
      }
      const begin = sample;
      if (begin === undefined) sample = progress;
      else {
        const milliseconds = now - begin.now;
        const expected = (rate ?? 0) * milliseconds;
        const isLong = milliseconds >= SAMPLE_MS && expected >= SAMPLE_BYTES;
        if (
          isLong ||
          milliseconds >= LONGEST_SAMPLE_MS ||
          (rate === undefined && milliseconds >= SAMPLE_MS)
        ) {
          sample = progress;
          taking += ((sent - begin.sent) / milliseconds - taking) * WEIGHT;
          if (!isRoomy && !isWhole) judge(now, milliseconds, sent + ready - begin.sent - begin.ready);
        }
      }
      if (isRoomy) return most;
      const allowed = attempt === undefined ? level : level + step;
      // The next blob alone: a connection that soon has to wait would go on to fill its buffers.
      return isWhole ? Math.max(allowed, 1) : allowed;
    },
  };
}
