import process from 'node:process';
import { completionScript } from '../cli/completion.ts';
import { UsageError } from '../config/loader.ts';

/** Runs `dockerproxy completion bash|zsh|fish`. @throws UsageError for another shell */
export async function completion([shell, ...others]: readonly string[]): Promise<void> {
  if (others.length > 0) throw new UsageError(['Name one shell, as in: dockerproxy completion bash']);
  process.stdout.write(completionScript(shell));
}
