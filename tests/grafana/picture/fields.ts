/**
 * Frames in, frames out as a panel shows them: transformed, and with the panel's units, colours,
 * mappings, thresholds and overrides on each field. Grafana's own functions do it all; this file
 * only tells them what the Grafana server would: which transformations and settings there are.
 */

import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  type DataFrame,
  type DataTransformerConfig,
  type DataTransformerInfo,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  type GrafanaTheme2,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  thresholdsOverrideProcessor,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

export const TIME_ZONE = 'utc';

const SETTINGS = ['unit', 'decimals', 'min', 'max', 'noValue', 'mappings', 'links', 'color'];

// One of them goes by two names.
const TRANSFORMERS = new Map<string, DataTransformerInfo>(
  Object.values(standardTransformers).map((info) => [info.id, info]),
);

standardTransformersRegistry.setInit(() =>
  [...TRANSFORMERS.values()].map((info) => ({
    id: info.id,
    name: info.name,
    transformation: () => Promise.resolve(info),
    // The editor and its pictures are Grafana's pages to edit a panel, which nobody sees here.
    editor: () => null,
    imageDark: '',
    imageLight: '',
  })),
);

/** Transform a panel's frames, then give each field its settings. */
export async function shown(
  frames: DataFrame[],
  transformations: DataTransformerConfig[],
  fieldConfig: FieldConfigSource,
  theme: GrafanaTheme2,
): Promise<DataFrame[]> {
  const transformed = await firstValueFrom(transformDataFrame(transformations, frames));
  const applied = applyFieldOverrides({
    data: transformed,
    fieldConfig,
    fieldConfigRegistry: registry(fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: TIME_ZONE,
  });
  // Tables head and sort their columns by these names.
  cacheFieldDisplayNames(applied);
  return applied;
}

/** Add what Grafana's graph gives to a field that says nothing of its colour. */
export function withPalette(fieldConfig: FieldConfigSource): FieldConfigSource {
  const defaults = { color: { mode: FieldColorModeId.PaletteClassic }, ...fieldConfig.defaults };
  return { ...fieldConfig, defaults };
}

/** List the settings that a panel may have: Grafana leaves out what is not on the list. */
function registry({ defaults, overrides }: FieldConfigSource): FieldConfigOptionsRegistry {
  const overridden = overrides.flatMap((rule) => rule.properties.map((property) => property.id));
  const custom = overridden.filter((id) => id.startsWith('custom.'));
  custom.push(...Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`));
  return new FieldConfigOptionsRegistry(() => [
    ...SETTINGS.map((id) => setting(id)),
    { ...setting('thresholds'), process: thresholdsOverrideProcessor as never },
    ...[...new Set(custom)].map((id) => setting(id)),
  ]);
}

function setting(id: string): FieldConfigPropertyItem {
  return {
    id,
    name: id,
    path: id.replace('custom.', ''),
    isCustom: id.startsWith('custom.'),
    process: (value) => value,
    shouldApply: () => true,
    editor: () => null,
    override: () => null,
  };
}
