import { statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Logger } from 'pino';
import { openSharedRedis } from '../app/shared-redis.ts';
import { CommandError } from '../cli/command-error.ts';
import { loadConfig } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { quote } from '../errors.ts';
import type { Redis } from '../redis/redis.ts';
import { createLogger } from '../telemetry/logger.ts';
import { IssueError } from '../tls/acme/issuer.ts';
import type { FileOwner } from '../util/atomic-file.ts';
import { onStopSignals } from './stop.ts';
import { sources } from './surroundings.ts';

interface Parts {
  readonly config: Config;
  readonly logger: Logger;
  readonly redis: Redis | undefined;
  readonly owner: FileOwner | undefined;
}

type Action = (parts: Parts, signal: AbortSignal) => Promise<void>;

const ACTIONS: Readonly<Record<string, Action>> = { status, renew, test };
/** The exit code of a shell for SIGINT. */
const EXIT_INTERRUPTED = 130;

/** Runs `dockerproxy certificate status`, `renew`, or `test`. */
export async function certificate([name = '', ...flags]: readonly string[]): Promise<void> {
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action === undefined) {
    const given = name === '' ? 'The action is missing' : `Unknown action ${quote(name)}`;
    throw new CommandError(
      `${given}. Use: dockerproxy certificate ${Object.keys(ACTIONS).join('|')} [flags]`,
    );
  }
  const interrupted = new AbortController();
  onStopSignals(
    () => interrupted.abort(),
    () => process.exit(EXIT_INTERRUPTED),
  );
  const config = loadConfig(sources(flags));
  const logger = await createLogger({ level: 'warn', forTerminal: process.stderr.isTTY, toStderr: true });
  const redis = config.tls === 'acme' ? await openSharedRedis(config, logger) : undefined;
  try {
    await action({ config, logger, redis, owner: serviceUser(config) }, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) process.exitCode = EXIT_INTERRUPTED;
    else throw error;
  } finally {
    await redis?.close();
  }
}

async function status(parts: Parts, signal: AbortSignal): Promise<void> {
  const { describeStatus } = await import('../app/certificate-status.ts');
  const { text, isValid } = await describeStatus(parts.config, { ...parts, now: Date.now() }, signal);
  process.stdout.write(text);
  if (!isValid) process.exitCode = 1;
}

async function renew(parts: Parts, signal: AbortSignal): Promise<void> {
  const { requestRenewal } = await import('../app/certificate-renewal.ts');
  const { isRenewed, message } = await requestRenewal(parts.config, { ...parts, now: Date.now }, signal);
  if (!isRenewed) throw new CommandError(message);
  process.stdout.write(`${message}\n`);
}

async function test(parts: Parts, signal: AbortSignal): Promise<void> {
  const { tryOrder } = await import('../app/certificate-trial.ts');
  const { tls, domains } = parts.config;
  if (tls !== 'acme') throw new CommandError(`The certificate is not from an ACME authority (--tls ${tls}).`);
  try {
    const authority = await tryOrder(parts.config, parts, signal);
    process.stdout.write(`${authority} issued a certificate for ${domains.join(', ')}. It was discarded.\n`);
  } catch (error) {
    if (!(error instanceof IssueError) || signal.aborted) throw error;
    throw new CommandError(`${error.failure.message} [${error.failure.code}]`);
  }
}

/** Returns the owner of the state folder if root runs the command, because the service reads the files of the command. */
function serviceUser({ stateDir }: Config): FileOwner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  return statSync(join(stateDir, 'tls'), { throwIfNoEntry: false });
}
