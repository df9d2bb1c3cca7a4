/**
 * Answers of Prometheus in, data frames out, of the shape that Grafana's Prometheus data source
 * gives its panels. That data source is not among Grafana's published libraries.
 */

import {
  applyNullInsertThreshold,
  type DataFrame,
  FieldType,
  type Labels,
  TIME_SERIES_TIME_FIELD_NAME,
  TIME_SERIES_VALUE_FIELD_NAME,
  toDataFrame,
} from '@grafana/data';

/** A series of an answer: its labels, and pairs of a time by the epoch and a value. */
export interface Series {
  labels: Labels;
  values: Array<[number, number]>;
}

/** A query of a panel, as the dashboard's JSON has it. */
export interface Target {
  refId: string;
  format?: string;
  legendFormat?: string;
}

/** The answers to a panel's queries, by the queries' letters. */
export type Answers = Record<string, Series[]>;

/** Build the frames of a panel; `stepSeconds` lies between two values of a series. */
export function framesOf(targets: Target[], answers: Answers, stepSeconds: number): DataFrame[] {
  return targets.flatMap((target) => {
    const series = answers[target.refId];
    if (target.format !== 'table') {
      return series.map((one) => graphFrame(target, one, stepSeconds));
    }
    const value = targets.length > 1 ? `Value #${target.refId}` : TIME_SERIES_VALUE_FIELD_NAME;
    return series.length > 0 ? [tableFrame(target, series, value)] : [];
  });
}

function graphFrame(target: Target, series: Series, stepSeconds: number): DataFrame {
  const frame = toDataFrame({
    refId: target.refId,
    fields: [
      {
        name: TIME_SERIES_TIME_FIELD_NAME,
        type: FieldType.time,
        values: series.values.map(([time]) => 1000 * time),
        config: { interval: 1000 * stepSeconds },
      },
      {
        name: TIME_SERIES_VALUE_FIELD_NAME,
        type: FieldType.number,
        values: series.values.map(([, value]) => value),
        labels: series.labels,
        config: { displayNameFromDS: legend(target, series.labels) },
      },
    ],
  });
  // So that graphs interrupt the line where steps have no value.
  return applyNullInsertThreshold({ frame });
}

/** Put labels into a legend. A query without one leaves the name to Grafana. */
function legend(target: Target, labels: Labels): string | undefined {
  return target.legendFormat?.replace(/{{\s*(.+?)\s*}}/g, (_, name) => labels[name] ?? '');
}

function tableFrame(target: Target, series: Series[], value: string): DataFrame {
  const names = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      {
        name: TIME_SERIES_TIME_FIELD_NAME,
        type: FieldType.time,
        values: series.map((one) => 1000 * one.values[0][0]),
      },
      ...names.map((name) => ({
        name,
        type: FieldType.string,
        values: series.map((one) => one.labels[name] ?? null),
      })),
      { name: value, type: FieldType.number, values: series.map((one) => one.values[0][1]) },
    ],
  });
}
