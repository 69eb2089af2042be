package auth

import "strings"

// lookup finds a claim by its configured name. The member of exactly that name comes first, with or
// without dots (Auth0 names claims by URLs). Otherwise the part before a dot names an object, in
// which the rest is looked up. Of several dots, the last one with such a member counts; if that
// member is not an object, the claims are refused.
func lookup(object map[string]any, name string) (value any, found bool, err error) {
	for {
		if value, found = object[name]; found {
			return value, true, nil
		}
		head := name
		for !found {
			dot := strings.LastIndexByte(head, '.')
			if dot < 0 {
				return nil, false, nil
			}
			head = head[:dot]
			value, found = object[head]
		}
		inner, ok := value.(map[string]any)
		if !ok {
			return nil, false, refuse(BadClaims, "a claim on a configured path is not an object")
		}
		object, name = inner, name[len(head)+1:]
	}
}

// lookupString is lookup for a string; an absent claim is "".
func lookupString(claims map[string]any, name string) (string, bool, error) {
	value, found, err := lookup(claims, name)
	if err != nil || !found {
		return "", false, err
	}
	s, ok := value.(string)
	if !ok {
		return "", false, refuse(BadClaims, name+" is not a string")
	}
	return s, true, nil
}

// lookupName is lookupString for a name, as isName defines it.
func lookupName(claims map[string]any, name string) (string, bool, error) {
	s, found, err := lookupString(claims, name)
	if found && !IsName(s) {
		return "", false, refuse(BadClaims, name+" is not a name")
	}
	return s, found, err
}

// lookupStrings is lookup for an array of strings; an absent claim is an empty one.
func lookupStrings(claims map[string]any, name string) ([]string, error) {
	value, found, err := lookup(claims, name)
	if err != nil || !found {
		return nil, err
	}
	array, ok := value.([]any)
	if !ok {
		return nil, refuse(BadClaims, name+" is not an array")
	}
	list := make([]string, len(array))
	for i, item := range array {
		if list[i], ok = item.(string); !ok {
			return nil, refuse(BadClaims, name+" has an item that is not a string")
		}
	}
	return list, nil
}
