// The real Telegraf that TestRealTelegraf builds, with only the plugins that it names by build tags, apart from the module so that
// its dependencies are not the server's. A newer one: go build -mod=mod with those tags; go mod tidy would fetch every plugin's
// dependencies, 3 GB.
module github.com/ringstore/ringstore/cmd/e2e/testdata/telegraf

go 1.26.0

require github.com/influxdata/telegraf v1.37.2
