package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A plot is the trade-off: survival up, added time to the right. Lengths are in the units of its view box.
type plot struct {
	Width, Height            float64
	Left, Right, Top, Bottom float64 // edges of the area of the axes
	X, Y                     []tick
	Points                   []plotPoint
	Front                    string // points of the line through the undominated; "" with fewer than two
}

type tick struct {
	At    float64
	Label string
}

// A plotPoint is one config.
type plotPoint struct {
	X, Y           float64
	Name, Verdict  string
	Mark, About    string
	LabelX, LabelY float64
	Anchor         string // of the label: start or end
	Far            bool   // the label is not beside the point, so that a line must join them
}

func newPlot(rows []standingRow) plot {
	p := plot{Width: 760, Height: 400, Left: 56, Right: 740, Top: 16, Bottom: 352}
	longest := 1.0
	for _, r := range rows {
		longest = max(longest, float64(r.Added))
	}
	step := niceStep(longest / 6)
	steps := math.Ceil(longest / step)
	end := step * steps
	for i := range int(steps) + 1 {
		at := step * float64(i)
		p.X = append(p.X, tick{p.x(at, end), fmt.Sprintf("%.4g", at)})
	}
	for _, at := range []float64{0, 0.25, 0.5, 0.75, 1} {
		p.Y = append(p.Y, tick{p.y(at), percent(at)})
	}
	for _, r := range rows {
		p.Points = append(p.Points, plotPoint{
			X: p.x(max(float64(r.Added), 0), end), Y: p.y(r.Survival),
			Name: r.Config, Verdict: r.Verdict, Mark: r.Mark,
			About: fmt.Sprintf("%s: %s, survives %s, faults add %s", r.Config, r.Verdict, percent(r.Survival), addedText(r.Added)),
		})
	}
	p.drawFront()
	p.placeLabels()
	return p
}

func (p *plot) x(value, end float64) float64 { return tenth(p.Left + (p.Right-p.Left)*value/end) }
func (p *plot) y(value float64) float64      { return tenth(p.Bottom - (p.Bottom-p.Top)*value) }

// niceStep returns the least of 1, 2, 5, 10, 20, 50 and so on, or a power of ten of them, from least on.
func niceStep(least float64) float64 {
	base := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if base*factor >= least {
			return base * factor
		}
	}
	return 10 * base
}

// drawFront joins the configs that are worth their time: from left to right, those of the undominated that
// survive more than all before them.
func (p *plot) drawFront() {
	var front []plotPoint
	for _, q := range p.Points {
		if q.Verdict == "recommended" || q.Verdict == "undominated" {
			front = append(front, q)
		}
	}
	slices.SortFunc(front, func(a, b plotPoint) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
	var line []string
	highest := math.Inf(1)
	for _, q := range front {
		if q.Y < highest { // further up
			highest = q.Y
			line = append(line, fmt.Sprintf("%g,%g", q.X, q.Y))
		}
	}
	if len(line) > 1 {
		p.Front = strings.Join(line, " ")
	}
}

// A box is the room that a label takes.
type box struct{ left, right, top, bottom float64 }

func (b box) meets(o box) bool {
	return b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom
}

const (
	letter     = 6.4 // width of a character of a label
	lineHeight = 13
	beside     = 10 // from a point to its label
)

// placeLabels puts each name beside its point, further up or down until it covers neither a point nor
// another label.
func (p *plot) placeLabels() {
	var taken []box
	for _, q := range p.Points {
		taken = append(taken, box{q.X - 5, q.X + 5, q.Y - 5, q.Y + 5})
	}
	for i := range p.Points {
		q := &p.Points[i]
		wide := letter * float64(len(q.Name))
		left := q.X + beside
		q.Anchor, q.LabelX = "start", left
		if left+wide > p.Right {
			left = q.X - beside - wide
			q.Anchor, q.LabelX = "end", q.X-beside
		}
		q.LabelY = p.freeLine(left, left+wide, q.Y+4, taken)
		q.Far = math.Abs(q.LabelY-q.Y-4) > lineHeight
		taken = append(taken, box{left, left + wide, q.LabelY - lineHeight + 3, q.LabelY + 3})
	}
}

// freeLine returns the base line nearest to at on which a label has room.
func (p *plot) freeLine(left, right, at float64, taken []box) float64 {
	for i := range 60 {
		line := at + float64((i+1)/2)*lineHeight
		if i%2 == 1 {
			line = at - float64((i+1)/2)*lineHeight
		}
		b := box{left, right, line - lineHeight + 3, line + 3}
		if line > p.Top && line < p.Bottom && !slices.ContainsFunc(taken, b.meets) {
			return tenth(line)
		}
	}
	return at
}
