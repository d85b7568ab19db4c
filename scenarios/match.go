package scenarios

// Glob reports whether pattern matches the whole of name. In pattern "*" stands for any run of
// characters, also none, "/" and "." among them; "?" stands for exactly one character.
// Everything else stands for itself: there are no classes and no escapes, so no pattern is wrong.
// Case matters. Glob may be called concurrently.
func Glob(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	i, j := 0, 0
	star, mark := -1, 0 // the last "*" in p, and where in n what it stands for ends
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
