// Prints, as one JSON object, what DuckDB finds in the Parquet files that a
// glob names: node read.js GLOB
import { DuckDBInstance } from '@duckdb/node-api'

const instance = await DuckDBInstance.create(':memory:')
const db = await instance.connect()
const files = `'${process.argv[2].replaceAll("'", "''")}'`

async function rows(sql) {
  return (await db.runAndReadAll(sql)).getRowObjectsJson()
}

const key = 'struct_pack(cluster, hostname, metric, scope, scope_id, "timestamp")'
const [totals] = await rows(`
  SELECT count(*) AS rows, count(DISTINCT filename) AS files,
    sum("timestamp")::VARCHAR AS timestamps, sum(frequency)::VARCHAR AS frequencies,
    sum(value) FILTER (isfinite(value)) AS values,
    count(*) FILTER (value = 'infinity'::DOUBLE) AS infinities,
    count(*) FILTER (isnan(value)) AS nans
  FROM read_parquet(${files}, filename = true)`)
const [order] = await rows(`
  SELECT count(*) AS disorder FROM (
    SELECT ${key} AS this,
      lag(${key}) OVER (PARTITION BY filename ORDER BY file_row_number) AS before
    FROM read_parquet(${files}, filename = true, file_row_number = true))
  WHERE this < before`)
const columns = await rows(`DESCRIBE SELECT * FROM read_parquet(${files})`)
const series = await rows(`
  SELECT cluster, hostname, metric, scope, scope_id, count(*) AS rows, sum(value) FILTER (isfinite(value)) AS values
  FROM read_parquet(${files}) GROUP BY ALL ORDER BY ALL LIMIT 10`)
const chunks = await rows(`
  SELECT DISTINCT path_in_schema AS column, compression, encodings
  FROM parquet_metadata(${files}) ORDER BY ALL`)
const groups = await rows(`
  SELECT max(row_group_num_rows) AS rows, count(DISTINCT row_group_id) AS groups FROM parquet_metadata(${files})`)
const metadata = await rows(`
  SELECT decode(key) AS key, decode(value) AS value
  FROM parquet_kv_metadata(${files}) ORDER BY ALL`)

console.log(JSON.stringify({
  ...totals, ...order, series, chunks, groups: groups[0], metadata,
  columns: columns.map(c => `${c.column_name} ${c.column_type}`),
}))
