import { type EffectiveSetting, effectiveSettings, type Sources } from '../config/loader.ts';
import { mask } from '../config/mask.ts';
import { fileKey } from '../config/schema.ts';
import { inlineToml } from '../config/toml.ts';

/**
 * Writes the settings in force as a TOML file that states the source of each. Secrets are masked.
 *
 * @throws ConfigError with every mistake of every source
 */
export function describeConfig(sources: Sources): string {
  return effectiveSettings(sources).map(describeSetting).join('');
}

function describeSetting({ name, written, where }: EffectiveSetting): string {
  if (written === undefined) return `# ${fileKey(name)} is not set\n`;
  return `${fileKey(name)} = ${inlineToml(mask(written))}  # ${where}\n`;
}
