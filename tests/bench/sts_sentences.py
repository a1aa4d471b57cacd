"""What the speech benchmarks say: (spoken, content words of a reference translation).

A content word may be given as alternatives joined by `|`; a word counts as found when any of them stands in the text.
"""

SPANISH = (
    (
        "Buenas noches a todos y bienvenidos a nuestra transmisión en directo desde Madrid.",
        "good evening|night welcome broadcast|transmission live|direct madrid",
    ),
    (
        "Hoy vamos a hablar de la nueva temporada y de los equipos que quieren ganar.",
        "today talk|speak new season teams win",
    ),
    (
        "El tiempo es frío, pero el estadio está lleno y la gente está muy contenta.",
        "weather|time cold stadium full people happy",
    ),
    (
        "El entrenador dice que el equipo está preparado para el partido de mañana.",
        "coach|trainer says team ready|prepared match|game|party tomorrow",
    ),
    (
        "La lluvia ha parado y los jugadores vuelven al campo.",
        "rain stopped players return|back|come field|pitch|camp",
    ),
    (
        "El capitán recibe el balón y corre por la banda derecha.",
        "captain receives|gets|takes ball runs right side|wing|band|flank",
    ),
    (
        "La policía ha cerrado tres calles cerca del puerto.",
        "police closed three|3 streets near harbor|harbour|port",
    ),
    (
        "El presidente del club hablará con la prensa después del partido.",
        "president club speak|talk press after match|game",
    ),
    (
        "Mañana lloverá en el norte y hará mucho calor en el sur.",
        "tomorrow rain north hot|heat|warm south",
    ),
    (
        "Miles de personas celebran la victoria en las calles de la ciudad.",
        "thousands people celebrate victory|win streets city",
    ),
    (
        "Después de la pausa volvemos con las noticias de la economía.",
        "after break|pause return|back|come news economy|economics",
    ),
    (
        "El tren llegó tarde porque había nieve en las montañas.",
        "train arrived|came late because snow mountains",
    ),
)

ENGLISH = (
    (
        "Good evening everyone, and welcome to our live broadcast from Madrid.",
        "buenas|tarde|noche bienvenido|bienvenidos emisión|transmisión madrid",
    ),
    (
        "Today we are going to talk about the new season and the teams that want to win.",
        "hoy hablar temporada|estación equipos ganar",
    ),
    (
        "The weather is cold, but the stadium is full and people are very happy.",
        "tiempo|clima frío estadio lleno personas|gente feliz|felices|contentos",
    ),
    (
        "The coach says that the team is ready for tomorrow's match.",
        "entrenador|autocar|coche dice equipo listo|preparado partido|encuentro|mañana",
    ),
    (
        "The rain has stopped and the players are coming back to the field.",
        "lluvia parado|detenido jugadores campo vuelven|volviendo|viniendo|regresando",
    ),
    (
        "The police have closed three streets near the harbour.",
        "policía cerrado tres|3 calles cerca|próximo puerto",
    ),
    (
        "The president of the club will speak to the press after the game.",
        "presidente club hablará prensa después|tras partido|juego",
    ),
    (
        "Tomorrow it will rain in the north and it will be very hot in the south.",
        "mañana lloverá norte caliente|calor sur",
    ),
    (
        "Thousands of people celebrate the victory in the streets of the city.",
        "miles|millares personas|gente celebran|celebra victoria calles ciudad",
    ),
    (
        "The train arrived late because there was snow in the mountains.",
        "tren llegó tarde porque nieve montañas",
    ),
)
