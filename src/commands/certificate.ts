import { statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Logger } from 'pino';
import { openSharedRedis } from '../app/shared-redis.ts';
import { splitArguments } from '../cli/command-arguments.ts';
import { CommandError } from '../cli/command-error.ts';
import { createScreen } from '../cli/screen.ts';
import { loadConfig, UsageError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { quote } from '../errors.ts';
import type { Redis } from '../redis/redis.ts';
import { createPlainLogger } from '../telemetry/logger.ts';
import { IssueError } from '../tls/acme/issuer.ts';
import type { FileOwner } from '../util/atomic-file.ts';
import { didYouMean } from '../util/similar-words.ts';
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts';
import { onStopSignals } from './stop.ts';
import { killGroup, sources } from './surroundings.ts';

interface Parts {
  readonly config: Config;
  readonly logger: Logger;
  readonly variables: NodeJS.ProcessEnv;
  readonly killGroup: (pid: number) => void;
  readonly redis: Redis | undefined;
  readonly owner: FileOwner | undefined;
}

type Action = (parts: Parts, signal: AbortSignal) => Promise<void>;

const ACTIONS: Readonly<Record<string, Action>> = { status, renew, test };

/** Runs `dockerproxy certificate status`, `renew`, or `test`. */
export async function certificate(args: readonly string[]): Promise<void> {
  const { words, settings } = splitArguments(args, {});
  const name = words.join(' ');
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action === undefined) {
    const names = Object.keys(ACTIONS);
    const given = name === '' ? 'The action is missing.' : `Unknown action ${quote(name)}.`;
    throw new UsageError([`${given}${didYouMean(name, names)} Actions: ${names.join(', ')}.`]);
  }
  const interrupted = new AbortController();
  onStopSignals(
    (signal) => interrupted.abort(signal),
    (signal) => process.exit(exitCodeOf(signal)),
  );
  const config = loadConfig(sources(settings));
  const logger = createPlainLogger(createScreen(process.stderr, process.env).say);
  const redis = config.tls === 'acme' ? await openSharedRedis(config, logger) : undefined;
  try {
    await action(
      { config, logger, redis, variables: process.env, killGroup, owner: serviceUser(config) },
      interrupted.signal,
    );
  } catch (error) {
    if (interrupted.signal.aborted) process.exitCode = exitCodeOf(interrupted.signal.reason);
    else throw error;
  } finally {
    await redis?.close();
  }
}

async function status(parts: Parts, signal: AbortSignal): Promise<void> {
  const { describeStatus } = await import('../app/certificate-status.ts');
  const { text, isValid } = await describeStatus(parts.config, { ...parts, now: Date.now() }, signal);
  process.stdout.write(text);
  if (!isValid) process.exitCode = EXIT_CODES.failed;
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
