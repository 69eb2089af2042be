package configs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ringstore/ringstore/configs/smallfile"
)

// Load reads a configuration file and the files that its "<section>-file" keys name. Every error
// that it returns is of type [Errors], which then also has warnings of unknown sections.
//
// Every section may be in a file of its own: "metrics-file": "x.json" reads section "metrics" from
// x.json, relative to the working directory. If the section is also in the main file, the keys of
// both are merged. A key in both is taken from the section's file, with a warning. (cc-metric-store
// takes one of the two at random.)
//
// In every string, ${NAME} is replaced by the environment variable NAME, and ${NAME:-default} by
// the default if the variable is not set or empty. For a literal ${, write $${.
func Load(path string) (*Config, error) {
	data, err := smallfile.Read(path, maxFileBytes)
	if err != nil {
		return nil, Errors{{File: path, Message: err.Error()}}
	}
	return Parse(path, data)
}

// Parse is [Load] for a text in memory; problems show name as its file. Section files are read as
// by Load.
func Parse(name string, data []byte) (*Config, error) {
	found := &findings{unusable: map[string]bool{}, emptied: map[string]bool{}, files: map[string]string{}}
	config := defaults()
	if root, ok := parseTree(name, "", data, found); ok {
		if root.kind == jsontext.KindBeginObject {
			d := decoder{found}
			d.config(withSectionFiles(root, found), config)
			c := checker{config: config, found: found, file: name}
			c.all()
		} else {
			found.wrongType("", root, "an object")
		}
	}
	if problems := found.problems.list(name); len(problems) > 0 {
		sections := found.unknownSections
		return nil, Errors(slices.Concat(problems, sections[:min(len(sections), maxProblems)]))
	}
	config.Warnings = found.warnings.list(name)
	return config, nil
}

const fileSuffix = "-file"

// withSectionFiles replaces the "<section>-file" members of a configuration by the sections in
// these files.
func withSectionFiles(root node, found *findings) node {
	sections := slices.DeleteFunc(slices.Clone(root.members), func(m member) bool {
		section, isFile := strings.CutSuffix(m.key, fileSuffix)
		return isFile && isSection(section)
	})
	for _, m := range root.members {
		section, isFile := strings.CutSuffix(m.key, fileSuffix)
		if !isFile || !isSection(section) || m.value.isZero() {
			continue
		}
		content, ok := sectionFile(m, section, found)
		if !ok {
			found.unusable[section] = true
			continue
		}
		i := slices.IndexFunc(sections, func(s member) bool { return s.key == section })
		if i < 0 {
			sections = append(sections, member{section, content})
			continue
		}
		sections[i].value = merge(section, sections[i].value, content, found)
	}
	root.members = sections
	return root
}

// sectionFile reads the file that m names.
func sectionFile(m member, section string, found *findings) (content node, ok bool) {
	if m.value.kind != jsontext.KindString {
		found.wrongType(m.key, m.value, "a string, the name of a file")
		return node{}, false
	}
	name, err := expand(m.value.text)
	if err != nil {
		found.problems.add(Problem{File: m.value.file, Key: m.key, Message: err.Error()})
		return node{}, false
	}
	data, err := smallfile.Read(name, maxFileBytes)
	if _, tooLarge := errors.AsType[*smallfile.TooLargeError](err); tooLarge {
		found.problems.add(Problem{File: name, Message: err.Error()})
		return node{}, false
	}
	if err != nil {
		found.problems.add(Problem{File: m.value.file, Key: m.key, Message: fmt.Sprintf("%s: %v", quote(name), err)})
		return node{}, false
	}
	content, ok = parseTree(name, section, data, found)
	if ok && content.kind != jsontext.KindBeginObject {
		found.wrongType(section, content, "an object")
		return node{}, false
	}
	return content, ok
}

// merge merges the two parts of a section that is in the main file, inline, and in a file of its
// own.
func merge(section string, inline, file node, found *findings) node {
	if inline.kind != jsontext.KindBeginObject {
		if inline.kind != jsontext.KindNull {
			found.wrongType(section, inline, "an object")
		}
		return file
	}
	at := make(map[string]int, len(inline.members))
	for i, m := range inline.members {
		at[m.key] = i
	}
	merged := inline
	merged.members = slices.Clone(inline.members)
	for _, m := range file.members {
		i, both := at[m.key]
		if !both {
			merged.members = append(merged.members, m)
			continue
		}
		merged.members[i] = m
		found.warnings.add(Problem{
			File: inline.file, Key: joinKey(section, m.key),
			Message: "is also in " + Printable(file.file) + ", which takes precedence",
		})
	}
	return merged
}
