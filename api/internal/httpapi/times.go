package httpapi

import "time"

// timeFormat is that of every time in the API.
const timeFormat = "2006-01-02T15:04:05.000Z"

func formatMillis(ms int64) string {
	return string(appendMillis(make([]byte, 0, len(timeFormat)), ms))
}

func formatTime(t time.Time) string { return formatMillis(t.UnixMilli()) }

const (
	millisOfDay = 24 * 60 * 60 * 1000
	// eraDays are the days of 400 years, after which the calendar repeats.
	eraDays = 146097
	// marchOfYear0 is the first of March of the year 0, in days before 1970.
	marchOfYear0 = 719468
	// lastMillis is the end of the year 9999.
	lastMillis = 253402300799999
)

// appendMillis appends a time as timeFormat has it. A page has hundreds of them, and package time
// takes five times as long.
func appendMillis(to []byte, ms int64) []byte {
	if ms < 0 || ms > lastMillis {
		return time.UnixMilli(ms).UTC().AppendFormat(to, timeFormat)
	}
	day, rest := ms/millisOfDay+marchOfYear0, int(ms%millisOfDay)
	// Years begin in March here, so that the leap day is the last of its year.
	era, dayOfEra := day/eraDays, day%eraDays
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	months := (5*dayOfYear + 2) / 153 // since March
	date := int(dayOfYear-(153*months+2)/5) + 1
	year, month := int(era*400+yearOfEra), int(months)+3
	if month > 12 {
		year, month = year+1, month-12
	}
	to = append(digits(digits(to, year/100), year%100), '-')
	to = append(digits(to, month), '-')
	to = append(digits(to, date), 'T')
	to = append(digits(to, rest/3_600_000), ':')
	to = append(digits(to, rest/60_000%60), ':')
	to = append(digits(to, rest/1000%60), '.')
	to = append(to, byte('0'+rest%1000/100))
	return append(digits(to, rest%100), 'Z')
}

// digits appends two.
func digits(to []byte, n int) []byte { return append(to, byte('0'+n/10), byte('0'+n%10)) }
