import { spawn } from 'node:child_process';
import { quote } from '../../errors.ts';
import type { Challenge } from './challenge.ts';
import { DnsError } from './dns-error.ts';

export interface DnsHookOptions {
  /** The path of the program. */
  readonly program: string;
  /** The environment of the program. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Milliseconds that one run may take; by default two minutes. */
  readonly timeout?: number;
  /** Takes each line that the program prints. */
  readonly onOutput: (line: string) => void;
  /** Kills a program with the programs that it started. */
  readonly killGroup: (pid: number) => void;
}

/** A TXT record that answers a challenge. */
export interface DnsRecord {
  /** The name of the record, without a final dot. */
  readonly name: string;
  readonly value: string;
  readonly challenge: Challenge;
}

/** Adds or removes a TXT record. */
export type DnsHook = (
  action: 'present' | 'cleanup',
  record: DnsRecord,
  signal: AbortSignal | undefined,
) => Promise<void>;

const TIMEOUT_MS = 120_000;
/** Characters of the output that are kept. */
const LARGEST_OUTPUT = 4096;

/**
 * Runs a program as lego's `exec` provider does: `PROGRAM present|cleanup _acme-challenge.example.org. VALUE`. The
 * variables of certbot's hooks have the same, for programs made for certbot.
 *
 * @see https://go-acme.github.io/lego/dns/exec/
 * @see https://eff-certbot.readthedocs.io/en/stable/using.html#hooks
 */
export function createDnsHook(options: DnsHookOptions): DnsHook {
  const { program, variables, timeout, onOutput, killGroup } = options;
  return async (action, { name, value, challenge }, signal) => {
    signal?.throwIfAborted();
    const limit = AbortSignal.timeout(timeout ?? TIMEOUT_MS);
    const end = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    const child = spawn(program, [action, `${name}.`, value], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...shared(variables), CERTBOT_DOMAIN: challenge.name, CERTBOT_VALIDATION: value },
      // A process group of its own, which ends as a whole.
      detached: true,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = `${output}${text}`.slice(-LARGEST_OUTPUT);
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const stop = (): void => {
      if (child.pid !== undefined) killGroup(child.pid);
      resolve('took too long');
    };
    end.addEventListener('abort', stop, { once: true });
    child.once('error', reject);
    // Not "close": a program that it started may keep the pipes.
    child.once('exit', (code, killer) =>
      resolve(code === 0 ? undefined : `ended with ${killer ?? `exit code ${code}`}`),
    );
    const failure = await promise.catch((error: Error) => `cannot run: ${error.message}`);
    end.removeEventListener('abort', stop);
    child.stdout.destroy();
    child.stderr.destroy();
    signal?.throwIfAborted();
    for (const line of output.split('\n').filter(Boolean)) onOutput(line);
    if (failure === undefined) return;
    const said = output.trim().split('\n').at(-1) ?? '';
    const text = said === '' ? '' : ` It says ${quote(said, 300)}.`;
    throw new DnsError(`The DNS hook ${program} ${action} ${name} ${failure}.${text}`);
  };
}

/** Leaves out the settings of the service, which may contain secrets. */
function shared(variables: DnsHookOptions['variables']): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !name.startsWith('DOCKERPROXY_')));
}
