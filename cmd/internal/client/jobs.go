package client

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Jobs lists jobs.
type Jobs struct {
	Connection
	Cluster, User string // empty: all clusters, and the caller's own jobs
	Format        string // table, csv or json; empty: table
}

// Help returns what the help of the program and of the command say.
func (j *Jobs) Help() (short, long string) {
	return "list your jobs", "Lists the jobs whose data you may query, the newest first."
}

// Flags adds the flags of a list of jobs.
func (j *Jobs) Flags(f *flag.FlagSet) {
	j.flags(f)
	f.StringVar(&j.Cluster, "cluster", "", "only jobs of this `cluster`")
	f.StringVar(&j.User, "user", "", "jobs of another `user`, for administrators and support")
	f.StringVar(&j.Format, "o", "table", "output `format`: table, csv or json")
}

// Check returns an error that names a wrong flag.
func (j *Jobs) Check() error { return checkFormat(j.Format, "table", "csv", "json") }

// job is a job in the answer of /api/jobs.
type job struct {
	JobID                  int64
	Cluster, User, Project string
	Hosts                  []string
	From, To               int64 // Unix seconds
	Running                bool
}

// Run lists the jobs.
func (j *Jobs) Run(ctx context.Context, _ []string, out, warnings io.Writer) error {
	s, err := j.open(warnings)
	if err != nil {
		return err
	}
	defer s.close()
	var text json.RawMessage
	if err := s.jobs(ctx, j.Cluster, j.User, &text); err != nil {
		return err
	}
	if j.Format == "json" {
		_, err := fmt.Fprintf(out, "%s\n", text)
		return err
	}
	var list []job
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("%s: expected a list of jobs: %w", j.Server, err)
	}
	if j.Format == "csv" {
		return writeJobsCSV(out, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "No jobs. Administrators list those of a user with -user NAME.")
		return err
	}
	return writeJobs(out, list)
}

// jobs asks for the jobs of a cluster, "" for all, and of a user, "" for the caller. It decodes them
// into result, the newest first.
func (s *server) jobs(ctx context.Context, cluster, user string, result any) error {
	query := url.Values{}
	for name, value := range map[string]string{"cluster": cluster, "user": user} {
		if value != "" {
			query.Set(name, value)
		}
	}
	answer := struct{ Jobs any }{result}
	return s.get(ctx, "/api/jobs", query, &answer)
}

func writeJobs(out io.Writer, list []job) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tCLUSTER\tUSER\tPROJECT\tSTART\tTIME\tSTATE\tHOSTS")
	for _, j := range list {
		state := "ended"
		if j.Running {
			state = "running"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.JobID, printable(j.Cluster), printable(j.User), printable(j.Project),
			time.Unix(j.From, 0).Format("Jan 2 15:04"), time.Duration(j.To-j.From)*time.Second, state, hostList(j.Hosts))
	}
	return w.Flush()
}

// hostList names a few hosts, and how many more there are.
func hostList(hosts []string) string {
	const shown = 4
	if len(hosts) <= shown+1 {
		return printable(strings.Join(hosts, " "))
	}
	return printable(strings.Join(hosts[:shown], " ")) + fmt.Sprintf(" and %d more", len(hosts)-shown)
}

func writeJobsCSV(out io.Writer, list []job) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"job", "cluster", "user", "project", "from", "to", "running", "hosts"}}
	for _, j := range list {
		rows = append(rows, []string{
			strconv.FormatInt(j.JobID, 10), j.Cluster, j.User, j.Project, time.Unix(j.From, 0).UTC().Format(time.RFC3339),
			time.Unix(j.To, 0).UTC().Format(time.RFC3339), strconv.FormatBool(j.Running), strings.Join(j.Hosts, " "),
		})
	}
	return w.WriteAll(rows)
}
