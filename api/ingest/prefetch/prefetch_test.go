package prefetch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// On the architectures that have an implementation, line is one prefetch instruction and reads or
// writes nothing but its argument.
func TestLineIsOnePrefetchInstruction(t *testing.T) {
	f := func(arch string, want ...string) {
		t.Run(arch, func(t *testing.T) {
			object := filepath.Join(t.TempDir(), "line.o")
			include := filepath.Join(strings.TrimSpace(goTool(t, arch, "env", "GOROOT")), "pkg", "include")
			goTool(t, arch, "tool", "asm", "-p", "prefetch", "-I", include, "-o", object, "line_"+arch+".s")
			if got := instructions(goTool(t, arch, "tool", "objdump", object), "prefetch.line"); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	f("amd64", "MOVQ 0x8(SP), AX", "PREFETCHT0 0(AX)", "RET")
	f("arm64", "MOVD 8(RSP), R0", "PRFM (R0), PLDL1KEEP", "RET")
}

// The compiler does not remove the call of line as one without effect.
func TestLineIsCompiledIn(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("no implementation on " + runtime.GOARCH)
	}
	if testing.Short() {
		t.Skip("links a test binary")
	}
	callsLine(new(int)) // keeps it in the binary
	binary := filepath.Join(t.TempDir(), "prefetch.test")
	goTool(t, runtime.GOARCH, "test", "-c", "-o", binary, ".")
	calls := func(i string) bool { return strings.HasPrefix(i, "CALL ") && strings.Contains(i, "/prefetch.line") }
	got := instructions(goTool(t, runtime.GOARCH, "tool", "objdump", "-s", `prefetch\.callsLine$`, binary), "prefetch.callsLine")
	if !slices.ContainsFunc(got, calls) {
		t.Errorf("no call of line in %q", got)
	}
}

// callsLine is what TestLineIsCompiledIn looks for.
//
//go:noinline
func callsLine(p *int) { Line(p) }

// goTool runs the go command for an architecture and returns its output.
func goTool(t *testing.T, arch string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOARCH="+arch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// instructions returns a function's instructions from the output of objdump, up to the first RET.
func instructions(objdump, function string) (list []string) {
	inside := false
	for line := range strings.Lines(objdump) {
		if name, ok := strings.CutPrefix(line, "TEXT "); ok {
			name, _, _ = strings.Cut(name, "(SB)")
			inside = strings.HasSuffix(name, function)
			continue
		}
		columns := strings.FieldsFunc(line, func(r rune) bool { return r == '\t' || r == '\n' })
		if !inside || len(columns) < 4 { // file and line, address, bytes, instruction
			continue
		}
		instruction := strings.TrimSpace(columns[3])
		list = append(list, instruction)
		if instruction == "RET" {
			break
		}
	}
	return list
}
