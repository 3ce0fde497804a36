import { type CommandCost, runMetered } from './metered-command.ts';

export interface CurlOptions {
  signal: AbortSignal;
  /** Path of the certificate that the server has. */
  certificate: string;
  /** True for concurrent transfers. */
  parallel?: boolean;
  /** The range of each URL: `0-499`. */
  ranges?: readonly string[];
  /** For each transfer, as curl has it: `1M`. */
  limitRate?: string;
  /** Seconds after which curl aborts each transfer. */
  maxSeconds?: number;
  /** The file that replaces /dev/null as the output of the only URL. */
  output?: string;
}

/** One URL's transfer, as curl measured it. */
export interface Transfer {
  firstByteMs: number;
  seconds: number;
  bytes: number;
}

export interface Transfers {
  transfers: Transfer[];
  /** From the first request to the last byte, without curl's own start. */
  seconds: number;
  /** The sum of all transfers. */
  bytes: number;
  client: CommandCost;
}

/** https://curl.se/docs/manpage.html: the time given with --max-time was over. */
const timedOut = 28;

/** Downloads with one curl process, which costs the machine less than one for each client. */
export async function curl(urls: string[], options: CurlOptions): Promise<Transfers> {
  const {
    certificate,
    parallel = false,
    limitRate,
    maxSeconds,
    output = '/dev/null',
    ranges,
    signal,
  } = options;
  const common = [
    // With HTTP/2, all transfers would share a single connection.
    ...['--silent', '--show-error', '--fail', '--http1.1', '--cacert', certificate],
    ...['--write-out', '%{time_starttransfer} %{time_total} %{size_download}\\n'],
    ...(limitRate ? ['--limit-rate', limitRate] : []),
    ...(maxSeconds ? ['--max-time', String(maxSeconds)] : []),
  ];
  const args = [
    ...(parallel ? ['--parallel', '--parallel-immediate', '--parallel-max', String(urls.length)] : []),
    ...common,
    ...urls.flatMap((url, at) => {
      const range = ranges?.[at];
      // curl applies an option to all URLs up to the next `--next`.
      const separate = range === undefined ? [] : ['--range', range];
      const next = range === undefined || at === 0 ? [] : ['--next', ...common];
      return [...next, ...separate, '--output', output, url];
    }),
  ];
  const client = await runMetered('curl', args, { signal, accepted: maxSeconds ? [timedOut] : [] });
  const transfers = parseTransfers(client.stdout);
  if (transfers.length !== urls.length) throw new Error(`curl: ${transfers.length} of ${urls.length} done`);
  const times = transfers.map(({ seconds }) => seconds);
  return {
    transfers,
    seconds: parallel ? Math.max(...times) : times.reduce((sum, time) => sum + time, 0),
    bytes: transfers.reduce((sum, { bytes }) => sum + bytes, 0),
    client,
  };
}

/** Reads what --write-out has printed, a line for each transfer. */
export function parseTransfers(text: string): Transfer[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [first = 0, total = 0, bytes = 0] = line.split(' ').map(Number);
      return { firstByteMs: first * 1000, seconds: total, bytes };
    });
}
