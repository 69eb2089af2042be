package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ringstore/ringstore/configs/smallfile"
)

// kind is what a JSON value is (RFC 8259, section 3).
type kind int

const (
	isNull kind = iota
	isBool
	isNumber
	isString
	isArray
	isObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// node is a JSON value, numbers as they were written, and the file that it came from.
type node struct {
	file    string
	kind    kind
	truth   bool
	text    string // a string's value, a number's literal
	items   []node
	members []member // in the file's order
}

type member struct {
	key   string
	value node
}

// isZero says that the value is as good as not there: null, false, 0, "" or empty.
func (n node) isZero() bool {
	switch n.kind {
	case isBool:
		return !n.truth
	case isNumber:
		return n.text == "0"
	default:
		return n.text == "" && len(n.items) == 0 && len(n.members) == 0
	}
}

// What a file may hold; both are far above any real configuration.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 32
)

// parseTree reads one JSON text. Its problems, syntax and duplicate keys among them, are reported under path.
func parseTree(file, path string, data []byte, found *findings) (root node, ok bool) {
	if len(data) > maxFileBytes {
		found.problems.add(Problem{File: file, Message: (&smallfile.TooLargeError{MaxBytes: maxFileBytes}).Error()})
		return node{}, false
	}
	p := parser{file: file, base: path, data: data, dec: json.NewDecoder(bytes.NewReader(data)), found: found}
	p.dec.UseNumber()
	// Checking the whole text first gives one kind of syntax error, and lets the walk below rely on the grammar.
	err := json.Unmarshal(data, new(json.RawMessage))
	if err == nil {
		root, err = p.value()
	}
	if err != nil {
		line, column := p.position(p.errorOffset(err))
		found.problems.add(Problem{File: file, Line: line, Column: column, Message: err.Error()})
	}
	return root, err == nil
}

type parser struct {
	file  string
	base  string // path of the root
	steps []step // from the root to where we are
	data  []byte
	dec   *json.Decoder
	found *findings
}

// step leads to a member of an object, or to an item of an array.
type step struct {
	key   string
	index int // -1 with a key
}

func (p *parser) value() (node, error) {
	token, err := p.dec.Token()
	if err != nil {
		return node{}, err
	}
	n := node{file: p.file}
	switch t := token.(type) {
	case nil:
	case bool:
		n.kind, n.truth = isBool, t
	case json.Number:
		n.kind, n.text = isNumber, t.String()
	case string:
		n.kind, n.text = isString, t
	case json.Delim:
		switch {
		case len(p.steps) == maxDepth:
			return node{}, fmt.Errorf("nested deeper than %d levels", maxDepth)
		case t == '[':
			n.kind = isArray
			n.items, err = p.items()
		default:
			n.kind = isObject
			n.members, err = p.members()
		}
	}
	return n, err
}

// under is the value that the next tokens hold, one step below.
func (p *parser) under(s step) (node, error) {
	p.steps = append(p.steps, s)
	n, err := p.value()
	p.steps = p.steps[:len(p.steps)-1]
	return n, err
}

func (p *parser) items() (items []node, err error) {
	for p.dec.More() {
		item, err := p.under(step{index: len(items)})
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err = p.dec.Token() // ]
	return items, err
}

// members keeps the first of several members of one name: the others are problems.
func (p *parser) members() (members []member, err error) {
	offsets := map[string]int64{}
	for p.dec.More() {
		token, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		offset := p.dec.InputOffset()
		value, err := p.under(step{key, -1})
		if err != nil {
			return nil, err
		}
		if first, duplicate := offsets[key]; duplicate {
			p.duplicate(key, first, offset)
			continue
		}
		offsets[key] = offset
		members = append(members, member{key, value})
	}
	_, err = p.dec.Token() // }
	return members, err
}

func (p *parser) duplicate(key string, first, second int64) {
	problem := Problem{File: p.file}
	if !p.found.problems.full() { // finding places is dear
		line, _ := p.position(first)
		again, _ := p.position(second)
		problem.Key = joinKey(p.path(), key)
		problem.Message = fmt.Sprintf("duplicate key, in lines %d and %d", line, again)
	}
	p.found.problems.add(problem)
}

func (p *parser) path() string {
	path := p.base
	for _, s := range p.steps {
		if s.index < 0 {
			path = joinKey(path, s.key)
		} else {
			path = joinIndex(path, s.index)
		}
	}
	return path
}

func (p *parser) errorOffset(err error) int64 {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntax.Offset
	}
	return p.dec.InputOffset()
}

// position is the line and the column of the last of the first n bytes.
func (p *parser) position(n int64) (line, column int) {
	before := p.data[:max(0, min(n, int64(len(p.data)))-1)]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}
