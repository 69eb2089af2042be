package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ringstore/ringstore/configs/smallfile"
)

// node is a JSON value and the file that it came from.
type node struct {
	file    string
	kind    jsontext.Kind
	text    string   // the value of a string, or a number as it is written
	items   []node   // of an array
	members []member // of an object, in the file's order
}

type member struct {
	key   string
	value node
}

// typeNames are the types of values as messages name them.
var typeNames = map[jsontext.Kind]string{
	jsontext.KindNull: "null", jsontext.KindFalse: "a boolean", jsontext.KindTrue: "a boolean", jsontext.KindNumber: "a number",
	jsontext.KindString: "a string", jsontext.KindBeginArray: "an array", jsontext.KindBeginObject: "an object",
}

// isZero reports whether the value is null, false, 0, "" or empty, which means the same as a
// missing key.
func (n node) isZero() bool {
	switch n.kind {
	case jsontext.KindTrue:
		return false
	case jsontext.KindNumber:
		return n.text == "0"
	default:
		return n.text == "" && len(n.items) == 0 && len(n.members) == 0
	}
}

// Limits of a file, far above any real configuration.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 32
)

// parseTree reads one JSON text. It reports its problems, such as syntax errors and duplicate keys,
// under path.
//
// The tokens come from package jsontext. Its own checks do not fit here: it stops at the first
// duplicate key, and its decoder of Go values stops at the first wrong value, but an operator
// should see all problems of a file at once.
func parseTree(file, path string, data []byte, found *findings) (root node, ok bool) {
	if len(data) > maxFileBytes {
		tooLarge := &smallfile.TooLargeError{MaxBytes: maxFileBytes}
		found.problems.add(Problem{File: file, Message: tooLarge.Error()})
		return node{}, false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	p := parser{file: file, base: path, data: data, dec: dec, found: found}
	// encoding/json checks the syntax first: its messages are shorter, and tokens cannot be
	// malformed afterwards.
	err := json.Unmarshal(data, new(json.RawMessage))
	syntax, malformed := errors.AsType[*json.SyntaxError](err)
	var offset int64
	if malformed {
		offset = syntax.Offset
		if mistake := nameMistake(data, offset); mistake != "" {
			err = errors.New(mistake)
		}
	} else {
		root, err = p.value()
		offset = dec.InputOffset()
	}
	if err != nil {
		line, column := position(data, offset)
		found.problems.add(Problem{File: file, Line: line, Column: column, Message: err.Error()})
	}
	return root, err == nil
}

// nameMistake names a common mistake at the last of the first n bytes of data, which is a syntax
// error; empty: it is another one.
func nameMistake(data []byte, n int64) string {
	if n < 1 || n > int64(len(data)) {
		return ""
	}
	before, rest := bytes.TrimRight(data[:n-1], " \t\r\n"), data[n-1:]
	last := byte(0)
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	switch at := rest[0]; {
	case n == 1 && (bytes.HasPrefix(rest, []byte("\xff\xfe")) || bytes.HasPrefix(rest, []byte("\xfe\xff"))):
		return "the file is UTF-16: save it as UTF-8"
	case n == 1 && bytes.HasPrefix(rest, []byte("\xef\xbb\xbf")):
		return "byte order mark: save the file as UTF-8 without one"
	case (at == '}' || at == ']') && last == ',':
		return "trailing comma: remove the comma before " + strconv.Quote(string(at))
	case at == '#' || bytes.HasPrefix(rest, []byte("//")) || bytes.HasPrefix(rest, []byte("/*")):
		return "comment: JSON has no comments, remove it"
	case at == '\'':
		return "single quotes: JSON needs double quotes"
	}
	return ""
}

type parser struct {
	file  string
	base  string // path of the root
	data  []byte
	dec   *jsontext.Decoder
	found *findings
}

func (p *parser) value() (node, error) {
	token, err := p.dec.ReadToken()
	if err != nil {
		return node{}, err
	}
	if p.dec.StackDepth() > maxDepth {
		return node{}, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	n := node{file: p.file, kind: token.Kind()}
	switch n.kind {
	case jsontext.KindNumber, jsontext.KindString:
		n.text = token.String()
	case jsontext.KindBeginArray:
		n.items, err = p.items()
	case jsontext.KindBeginObject:
		n.members, err = p.members()
	}
	return n, err
}

func (p *parser) items() (items []node, err error) {
	for p.dec.PeekKind() != jsontext.KindEndArray {
		item, err := p.value()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err = p.dec.ReadToken()
	return items, err
}

// members keeps the first of several members with the same key, and reports the others.
func (p *parser) members() (members []member, err error) {
	offsets := map[string]int64{}
	for p.dec.PeekKind() != jsontext.KindEndObject {
		token, err := p.dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key, offset := token.String(), p.dec.InputOffset()
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		if first, duplicate := offsets[key]; duplicate {
			p.reportDuplicate(first, offset)
			continue
		}
		offsets[key] = offset
		members = append(members, member{key, value})
	}
	_, err = p.dec.ReadToken()
	return members, err
}

// reportDuplicate reports that the member just read has the key of an earlier one.
func (p *parser) reportDuplicate(first, second int64) {
	problem := Problem{File: p.file}
	if !p.found.problems.full() { // computing positions is expensive
		line, _ := position(p.data, first)
		again, _ := position(p.data, second)
		problem.Key = p.path()
		problem.Message = fmt.Sprintf("duplicate key, in lines %d and %d", line, again)
	}
	p.found.problems.add(problem)
}

// path is the path of the value just read.
func (p *parser) path() string {
	path, depth := p.base, 0
	for name := range p.dec.StackPointer().Tokens() {
		depth++
		if kind, length := p.dec.StackIndex(depth); kind == jsontext.KindBeginArray {
			path = joinIndex(path, int(length)-1)
		} else {
			path = joinKey(path, name)
		}
	}
	return path
}

// position is the line and the column, both from 1, of the last of the first n bytes of data.
func position(data []byte, n int64) (line, column int) {
	before := data[:max(0, min(n, int64(len(data)))-1)]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}
