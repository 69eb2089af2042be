package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

var (
	usageCommand = regexp.MustCompile(`(?m)^(?:Usage:|      ) ringstore ([a-z-]+)`)
	usageFlag    = regexp.MustCompile(`(?m)^  -(\S+)`)
)

// usage returns the commands and flags that -h prints for a command, or for the server.
func usage(t *testing.T, command ...string) (commands, flags []string) {
	t.Helper()
	text := runCommand(t, append(command, "-h")...).stderr
	all := func(r *regexp.Regexp) (found []string) {
		for _, m := range r.FindAllStringSubmatch(text, -1) {
			found = append(found, m[1])
		}
		return found
	}
	commands, flags = all(usageCommand), all(usageFlag)
	if server := len(command) == 0; server != (len(commands) > 6) || !server && !slices.Equal(commands, command) {
		t.Fatalf("%q: %s", command, text)
	}
	return commands, flags
}

// synopsis returns the flags of each command in the SYNOPSIS of a man page, with "" for the server,
// and the rest of the page.
func synopsis(t *testing.T, manual string) (flags map[string][]string, rest string) {
	t.Helper()
	_, text, _ := strings.Cut(manual, "\n.Sh SYNOPSIS\n")
	text, rest, found := strings.Cut(text, "\n.Sh ")
	if !found {
		t.Fatal("no synopsis")
	}
	flags = map[string][]string{}
	for call := range strings.SplitSeq(text, ".Nm\n") {
		command := ""
		if m := regexp.MustCompile(`(?m)^\.Cm (\S+)$`).FindStringSubmatch(call); m != nil {
			command = m[1]
		}
		for _, m := range regexp.MustCompile(`(?m)^\.(?:Op )?Fl (\S+)`).FindAllStringSubmatch(call, -1) {
			flags[command] = append(flags[command], m[1])
		}
	}
	return flags, rest
}

// TestManual: the synopsis has exactly the program's commands and flags, each is explained, and
// mandoc finds no errors if it is installed.
func TestManual(t *testing.T) {
	const file = "../../scripts/release/packaging/ringstore.8"
	documented, rest := synopsis(t, cmdtest.ReadFile(t, file))
	explained := func(macro, name string) {
		t.Helper()
		if !regexp.MustCompile(`(?m)^\.(It )?` + macro + ` ` + name + `\b`).MatchString(rest) {
			t.Errorf("%s is not explained", name)
		}
	}
	commands, _ := usage(t)
	for _, c := range append(commands, "") {
		var args []string
		if c != "" {
			args = []string{c}
			explained("Cm", c)
		}
		_, flags := usage(t, args...)
		inManual := slices.Compact(slices.Sorted(slices.Values(documented[c])))
		if slices.Sort(flags); !slices.Equal(flags, inManual) {
			t.Errorf("%q has flags %q, in the manual %q", c, flags, inManual)
		}
		for _, f := range flags {
			explained("Fl", f)
		}
		delete(documented, c)
	}
	if len(documented) > 0 {
		t.Errorf("documented commands that do not exist: %q", documented)
	}
	if mandoc, err := exec.LookPath("mandoc"); err == nil {
		if out, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestCompletion: bash, zsh and fish complete the program's commands and flags. Zsh's completion
// needs a terminal, so only its syntax is checked.
func TestCompletion(t *testing.T) {
	const directory = "../../scripts/release/packaging/completion/"
	commands, flags := usage(t)
	_, estimate := usage(t, "estimate")
	_, query := usage(t, "query")
	dashed := func(names []string, dash string) (with []string) {
		for _, n := range names {
			with = append(with, dash+n)
		}
		return with
	}
	f := func(words string, want []string) {
		t.Helper()
		for shell, script := range map[string]string{
			"bash": `source ` + directory + `ringstore.bash; IFS=' ' read -ra COMP_WORDS <<< "$LINE"; [[ $LINE == *' ' ]] && COMP_WORDS+=('')
				COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _ringstore; printf '%s\n' "${COMPREPLY[@]}"`,
			"fish": `function ringstore; ` + os.Args[0] + ` $argv; end; source ` + directory + `ringstore.fish; complete -C "$LINE" | cut -f 1`,
		} {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Logf("%s is not installed", shell)
				continue
			}
			name := os.Args[0]
			if shell == "fish" {
				name = "ringstore"
			}
			cmd := exec.Command(path, "-c", script)
			cmd.Env = append(os.Environ(), asProgram+"=1", "LINE="+name+" "+words, "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", shell, err, out)
			}
			got := strings.Fields(string(out))
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("%s: %q: %q is not among %q", shell, words, w, got)
				}
			}
		}
	}
	f("", commands)
	f("ver", []string{"verify"})
	f("-", dashed(flags, "-"))
	f("--", dashed(flags, "--"))
	f("estimate -", dashed(estimate, "-"))
	f("-config x --loglevel ", []string{"debug", "info", "warn", "err", "crit"})
	f("query -", dashed(query, "-"))
	f("query -o ", []string{"plot", "table", "csv", "json"})
	f("-logformat ", []string{"text", "json"})
	if zsh, err := exec.LookPath("zsh"); err == nil {
		if out, err := exec.Command(zsh, "-n", directory+"_ringstore").CombinedOutput(); err != nil {
			t.Errorf("zsh: %v\n%s", err, out)
		}
	}
}
